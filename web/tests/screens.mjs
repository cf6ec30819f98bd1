// VNC and SPICE screens of a real virtual machine, in Chromium, under the policy of the product: node --test tests/screens.mjs
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { serve } from "./screens/bridge.mjs";
import { buildPage, differing, launch, Screen } from "./screens/browser.mjs";
import { Guest, pause, until } from "./screens/guest.mjs";

const EVIL = "<img src=x onerror=alert(1)>\u202egnp.exe\u2066";
const EVIL_SHOWN = "<img src=x onerror=alert(1)> gnp.exe";

let folder, browser, guest, bridge;

before(async () => {
  folder = await buildPage();
  [browser, guest] = await Promise.all([launch(), Guest.start({ name: EVIL })]);
  bridge = await serve(folder, { vnc: guest.vnc, spice: guest.spice });
});

after(async () => {
  await bridge?.stop();
  await browser?.close();
  await guest?.stop();
  if (folder) rmSync(folder, { recursive: true });
});

/** Waits until the page shows what QEMU shows, pixel by pixel. */
async function isExact(screen, from = guest) {
  let differ;
  await until("no pixel differs", async () => {
    differ = differing(await screen.picture(), await from.picture());
    return differ === 0;
  }, 30_000).catch((error) => { throw new Error(`${error.message}; ${differ} do`); });
}

let n = 0;
/** A command whose echo does not contain its answer. */
function command() {
  n += 1;
  return { line: `echo typed-$((${n}*7)) > /dev/ttyS0`, answer: `typed-${n * 7}\r\n` };
}

for (const view of ["vnc", "spice"]) {
  test(`${view}: keys change the screen, and no pixel differs at rest`, async () => {
    const screen = await Screen.open(browser, bridge, view);
    await screen.event("connected");
    await isExact(screen);
    const first = await screen.picture();
    await screen.page.locator("#place canvas").click();
    const { line, answer } = command();
    await screen.type(`${line}\n`);
    await guest.says(answer);
    await isExact(screen);
    assert.notEqual(differing(first, await screen.picture()), 0);
    await screen.shot(`${view}-typed`);

    const typed = command();
    await screen.page.evaluate((text) => window.screenTest.view.type(text), `${typed.line}\n`);
    await guest.says(typed.answer);

    // A shell that waits for cat gets nothing until Ctrl-C ends it: held, from the phone bar.
    for (const ctrlC of [
      async () => { await screen.run("hold-ctrl"); await screen.type("c"); await screen.run("hold-ctrl"); },
      () => screen.page.evaluate(() => window.screenTest.view.key("c", { ctrl: true })),
    ]) {
      await screen.type("cat\n");
      await pause(500);
      await ctrlC();
      const next = command();
      await screen.type(`${next.line}\n`);
      await guest.says(next.answer);
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
    await screen.type(`${line}\n`);
    await screen.page.evaluate((text) => window.screenTest.view.type(text), `${line}\n`);
    await screen.page.evaluate(() => window.screenTest.view.key("Enter", {}));
    // What another types after it shows that the guest took nothing.
    const writer = await Screen.open(browser, bridge, "vnc");
    await writer.event("connected");
    const other = command();
    await writer.page.locator("#place canvas").click();
    await writer.type(`${other.line}\n`);
    await guest.says(other.answer);
    assert.ok(!guest.said().includes(answer), guest.said());
    await isExact(screen);
    await writer.close();
    await screen.close();
  });
}
