// VNC and SPICE screens of a real virtual machine, in Chromium, under the policy of the product: node --test tests/screens.mjs
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ANNOUNCE, Agent, MONITORS_CONFIG } from "./screens/agent.mjs";
import { serve } from "./screens/bridge.mjs";
import { differing } from "./picture.mjs";
import { buildPage, launch, Screen } from "./screens/browser.mjs";
import { Guest, pause, until } from "./screens/guest.mjs";

const EVIL = "<img src=x onerror=alert(1)>\u202egnp.exe\u2066";
const EVIL_SHOWN = "<img src=x onerror=alert(1)> gnp.exe";

let folder, extra, browser, guest, bridge;

/**
 * Two more serial ports for each of the agents, ttyS4 to ttyS7: the guest joins one to the other, and the test speaks at
 * the other end. The last port is ttyS1, which gets a shell.
 */
const ports = (dir) => [
  "-chardev", "spicevmc,id=spice-agent,name=vdagent", "-device", "pci-serial,chardev=spice-agent",
  "-chardev", `socket,id=spice-end,path=${dir}/spice-agent,server=on,wait=off`, "-device", "pci-serial,chardev=spice-end",
  "-chardev", "qemu-vdagent,id=vnc-agent,name=vdagent,clipboard=on", "-device", "pci-serial,chardev=vnc-agent",
  "-chardev", `socket,id=vnc-end,path=${dir}/vnc-agent,server=on,wait=off`, "-device", "pci-serial,chardev=vnc-end",
  "-chardev", "null,id=none", "-device", "pci-serial,chardev=none",
];

/** A guest whose agents the test plays. */
async function guestWithAgents() {
  extra = mkdtempSync(path.join(os.tmpdir(), "screens-guest-"));
  mkdirSync(path.join(extra, "bin"));
  for (const program of ["beep", "paint"]) {
    const source = fileURLToPath(new URL(`./screens/${program}.c`, import.meta.url));
    const options = ["-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"];
    execFileSync("cc", [...options, "-o", path.join(extra, "bin", program), source]);
  }
  guest = await Guest.start({ name: EVIL, more: ports, extra });
  await guest.serial("for p in 4 5 6 7; do stty -F /dev/ttyS$p raw -echo 115200; done; " +
    "for p in '4 5' '5 4' '6 7' '7 6'; do set -- $p; cat /dev/ttyS$1 >/dev/ttyS$2 & done; echo joined-$((6*7))");
  await guest.says("joined-42");
}

before(async () => {
  folder = await buildPage();
  [browser] = await Promise.all([launch(), guestWithAgents()]);
  bridge = await serve(folder, { vnc: guest.vnc, spice: guest.spice });
});

after(async () => {
  await bridge?.stop();
  await browser?.close();
  await guest?.stop();
  for (const made of [folder, extra]) if (made) rmSync(made, { recursive: true });
});

/** Waits until the page shows what QEMU shows, pixel by pixel. */
async function isExact(screen, from = guest, ms = 30_000) {
  let differ;
  await until("no pixel differs", async () => {
    differ = differing(await screen.picture(), await from.picture());
    return differ === 0;
  }, ms).catch((error) => { throw new Error(`${error.message}; ${differ} do`); });
}

/** Between the keys of a first try, in milliseconds. */
const FIRST_DELAY = 20;

let n = 0;
/** A command whose echo does not contain its answer. */
function command() {
  n += 1;
  return { line: `echo typed-$((${n}*7)) > /dev/ttyS0\n`, answer: `typed-${n * 7}\r\n` };
}

/**
 * Types a command until the guest answers. A guest that gets no processor time for a while loses keys, since a keyboard
 * holds 16 bytes; so what was not answered is typed again, by hand more slowly.
 */
async function isTyped(screen, type = (text, delay) => screen.type(text, delay)) {
  for (let tries = 0; tries < 4; tries += 1) {
    const { line, answer } = command();
    await type(line, FIRST_DELAY << tries);
    if (await guest.says(answer, 6_000).then(() => true, () => false)) return;
    await screen.page.keyboard.press("Shift", { delay: 200 });
    await screen.page.keyboard.press("Control+c", { delay: 200 });
  }
  throw new Error(`the guest did not answer: ${guest.said().slice(-500)}`);
}

for (const view of ["vnc", "spice"]) {
  test(`${view}: keys change the screen, and no pixel differs at rest`, async () => {
    const screen = await Screen.open(browser, bridge, view);
    await screen.event("connected");
    await isExact(screen);
    const first = await screen.picture();
    await screen.page.locator("#place canvas").click();
    await isTyped(screen);
    await isExact(screen);
    assert.notEqual(differing(first, await screen.picture()), 0);
    await screen.shot(`${view}-typed`);

    await isTyped(screen, async (text, delay) => {
      // The page's own pace is for a guest that runs; what one that stands still has lost is typed key by key.
      for (const part of delay > FIRST_DELAY ? text : [text]) {
        await screen.page.evaluate((part) => window.screenTest.view.type(part), part);
        await pause(delay);
      }
    });

    // A shell that waits for cat gets nothing until Ctrl-D ends it: with a modifier that is held, and from the phone bar.
    for (const ctrlD of [
      async () => { await screen.run("hold-ctrl"); await screen.type("d"); await screen.run("hold-ctrl"); },
      () => screen.page.evaluate(() => window.screenTest.view.key("d", { ctrl: true })),
    ]) {
      await screen.type("cat\n");
      await pause(1000);
      await ctrlD();
      await isTyped(screen);
    }
    await isExact(screen);
    assert.deepEqual(await screen.violations(), []);
    assert.deepEqual(screen.said.filter((line) => /error|refused|violat/i.test(line)), []);
    await screen.close();
    await until("the sockets are closed", () => bridge.sockets.size === 0);
  });

  test(`${view}: the name of the guest is text`, async () => {
    const screen = await Screen.open(browser, bridge, view);
    const { text } = await screen.event("title");
    assert.ok(text.includes(EVIL_SHOWN), text);
    await isExact(screen);
    await screen.shot(`${view}-evil-name`);
    assert.equal(await screen.page.locator("img").count(), 0);
    assert.ok((await screen.page.locator("h1").textContent()).includes(EVIL_SHOWN));
    assert.deepEqual(screen.said.filter((line) => line.startsWith("dialog")), []);
    await screen.close();
  });

  test(`${view}: sizes, full screen`, async () => {
    const screen = await Screen.open(browser, bridge, view);
    await isExact(screen);
    const box = () => screen.page.locator("#place canvas").boundingBox();
    const fit = await box();
    assert.ok(fit.width > 900, JSON.stringify(fit));
    await screen.run("scale-actual");
    const actual = await box();
    assert.deepEqual([actual.width, actual.height], [720, 400]);
    await screen.shot(`${view}-actual`);
    await screen.run("scale-fit");
    assert.deepEqual(await box(), fit);
    await screen.shot(`${view}-fit`);
    await screen.page.setViewportSize({ width: 360, height: 640 });
    await until("it fits a phone", async () => (await box()).width === 360);
    await screen.shot(`${view}-360`);
    await screen.page.setViewportSize({ width: 1000, height: 640 });
    await screen.page.evaluate(() => { document.querySelector("h1").onclick = () => window.screenTest.view.actions().find(({ id }) => id === "fullscreen").run(); });
    await screen.page.locator("h1").click();
    await until("it is full", () => screen.page.evaluate(() => document.fullscreenElement === window.screenTest.view.element));
    assert.equal((await screen.actions()).find(({ id }) => id === "fullscreen").pressed, true);
    await screen.run("fullscreen");
    await until("it is not full", () => screen.page.evaluate(() => document.fullscreenElement === null));
    assert.deepEqual(await screen.violations(), []);
    await screen.close();
  });

  test(`${view}: who may only look types nothing`, async () => {
    const screen = await Screen.open(browser, bridge, view, { readonly: "1" });
    await isExact(screen);
    assert.deepEqual((await screen.actions()).filter(({ id }) => id.startsWith("keys") || id.startsWith("hold")), []);
    const { line, answer } = command();
    await screen.page.locator("#place canvas").click();
    await screen.type(line);
    await screen.page.evaluate((text) => window.screenTest.view.type(text), line);
    await screen.page.evaluate(() => window.screenTest.view.key("Enter", {}));
    // What another types after it shows that the guest took nothing.
    const writer = await Screen.open(browser, bridge, "vnc");
    await writer.event("connected");
    await writer.page.locator("#place canvas").click();
    await isTyped(writer);
    assert.ok(!guest.said().includes(answer), guest.said());
    await isExact(screen);
    await writer.close();
    await screen.close();
  });
}

for (const view of ["vnc", "spice"]) {
  test(`${view}: the clipboard goes both ways, to the guest only by paste`, async () => {
    const agent = await Agent.connect(path.join(guest.dir, `${view}-agent`));
    const screen = await Screen.open(browser, bridge, view);
    await isExact(screen);
    await agent.received("the other side says what it can", ({ type }) => type === ANNOUNCE);
    // Also one that does not fit into one piece of the agent's protocol.
    for (const text of ["from the guest: \u00e4\u20ac\ud83d\ude42", `long ${"0123456789".repeat(900)} end`]) {
      agent.copy(text);
      await until("the page has it", async () => (await screen.events("clipboard")).at(-1)?.text === text).catch((error) => {
        throw new Error(`${error.message}: ${text.slice(0, 20)}; the agent heard ${agent.messages.map(({ type }) => type)}; the page said ${screen.said}`);
      });
      const back = `back: ${text}`;
      await screen.page.evaluate((text) => window.screenTest.view.paste(text), back);
      await until("the guest has it", () => agent.text === back).catch((error) => { throw new Error(`${error.message}; it has ${agent.text}`); });
    }
    await screen.page.evaluate(() => navigator.clipboard.writeText("secret of the user").catch(() => {}));
    await screen.page.locator("#place canvas").click();
    await pause(500);
    assert.ok(!agent.messages.some(({ data }) => data.includes("secret")));
    assert.deepEqual(await screen.violations(), []);
    await screen.close();
    agent.close();
  });
}

test("spice: the agent is asked for the window's size", async () => {
  const agent = await Agent.connect(path.join(guest.dir, "spice-agent"));
  const screen = await Screen.open(browser, bridge, "spice", { scale: "guest" });
  await isExact(screen);
  // Number of monitors, flags, height, width.
  const asked = (width, height) => agent.received(`the guest is asked for ${width}x${height}`, ({ type, data }) =>
    type === MONITORS_CONFIG && data.readUInt32LE(8) === height && data.readUInt32LE(12) === width);
  const height = await screen.page.evaluate(() => document.querySelector("#place").clientHeight);
  await asked(1000, height & ~1);
  await screen.page.setViewportSize({ width: 803, height: 500 });
  await asked(800, (height - 140) & ~1);
  await screen.close();
  agent.close();
});

test("spice: sound is heard once it is turned on", async () => {
  const screen = await Screen.open(browser, bridge, "spice");
  await isExact(screen);
  const sockets = bridge.sockets.size;
  await screen.page.evaluate(() => { document.querySelector("h1").onclick = () => window.screenTest.view.actions().find(({ id }) => id === "sound").run(); });
  await screen.page.locator("h1").click();
  await until("its channel is open", () => bridge.sockets.size === sockets + 1);
  // Again and again, since on a busy machine one sound is over before the channel is ready.
  await guest.serial("while beep 9; do :; done &");
  const heard = () => screen.page.evaluate(() => {
    const audio = document.querySelector("#place audio");
    return audio && { at: audio.currentTime, paused: audio.paused, error: audio.error?.message };
  });
  await until("it plays", async () => (await heard())?.at > 0.5).catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await heard())}; ${screen.said}`);
  });
  await screen.page.locator("h1").click();
  await until("its channel is closed", () => bridge.sockets.size === sockets);
  assert.equal(await screen.page.locator("#place audio").count(), 0);
  await screen.page.locator("h1").click();
  await until("it plays again", async () => (await heard())?.at > 0.5);
  await guest.serial("kill $!");
  assert.deepEqual(await screen.violations(), []);
  await screen.close();
});

test("a guest with passwords and many colours, and its end", async () => {
  const secret = path.join(extra, "secret");
  writeFileSync(secret, "right");
  const locked = await Guest.start({
    spice: "password-secret=secret", vnc: ",password-secret=secret", more: () => ["-object", `secret,id=secret,file=${secret}`],
    extra,
    // 800x600 with 32 bits.
    kernel: "vga=835",
  });
  const bridge = await serve(folder, { vnc: locked.vnc, spice: locked.spice });
  try {
    const vnc = await Screen.open(browser, bridge, "vnc");
    assert.equal((await vnc.event("password")).user, false);
    await vnc.answer("wrong");
    const ended = await vnc.event("ended");
    assert.match(ended.reason, /./);
    await vnc.close();

    const open = await Screen.open(browser, bridge, "vnc");
    await open.event("password");
    await open.answer("right");
    await open.event("connected");

    // The server says only afterwards that it wants a password, and the session must live until the right one comes.
    const spice = await Screen.open(browser, bridge, "spice");
    for (const [tries, word] of [[1, "wrong"], [2, "also wrong \u20ac"], [3, "right"]]) {
      await until("it asks", async () => (await spice.events("password")).length === tries);
      assert.ok(bridge.sockets.size > 0);
      await spice.answer(word);
    }
    await spice.event("connected");
    assert.deepEqual(await spice.events("ended"), []);

    for (const seed of [1, 2, 3]) {
      await locked.serial(`paint ${seed}; echo painted-$((${seed}*7))`);
      await locked.says(`painted-${seed * 7}`);
      for (const screen of [open, spice]) await isExact(screen, locked, 90_000);
    }
    await spice.shot("spice-painted");
    await open.shot("vnc-painted");

    await spice.run("ctrl-alt-del");
    for (const screen of [spice, open]) {
      const end = await screen.event("ended");
      assert.equal(end.code, 1000, JSON.stringify(end));
      assert.equal(await screen.page.locator("#place .screen-ended canvas").count(), 1);
      assert.deepEqual(await screen.violations(), []);
    }
    await spice.shot("spice-ended");
    await open.shot("vnc-ended");
    await spice.close();
    await open.close();
  } finally {
    await bridge.stop();
    await locked.stop();
  }
});
