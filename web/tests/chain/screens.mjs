// The guest's screens: typed keys change them, and at rest no pixel differs from what QEMU sees.
import assert from "node:assert/strict";
import { accessible, open, run, shot, tab, until } from "./chain.mjs";
import { Monitor, said } from "./guest.mjs";

/** Characters that need Shift on the guest's US keyboard. */
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

let monitor;
let n = 0;

/** The picture in the page, in the form of Monitor.picture(). */
async function picture(page) {
  const seen = await page.evaluate(() => {
    const canvas = document.querySelector(".pane-view canvas");
    if (!canvas?.width) return undefined;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
    return { width: canvas.width, height: canvas.height, data: btoa(text) };
  });
  if (!seen) return undefined;
  const rgba = Buffer.from(seen.data, "base64");
  const rgb = Buffer.alloc(seen.width * seen.height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) rgba.copy(rgb, to, from, from + 3);
  return { width: seen.width, height: seen.height, rgb };
}

/** How many pixels differ; undefined if the sizes do. */
function differing(one, other) {
  if (one?.width !== other?.width || one?.height !== other?.height) return undefined;
  let differ = 0;
  for (let at = 0; at < one.rgb.length; at += 3) {
    if (one.rgb[at] !== other.rgb[at] || one.rgb[at + 1] !== other.rgb[at + 1] || one.rgb[at + 2] !== other.rgb[at + 2]) differ += 1;
  }
  return differ;
}

async function isExact(page) {
  let differ;
  await until("no pixel differs", async () => {
    differ = differing(await picture(page), await monitor.picture());
    return differ === 0;
  }, 60_000).catch((error) => { throw new Error(`${error.message}; ${differ} do`); });
}

async function type(page, text, delay) {
  for (const key of text) await page.keyboard.press(key === "\n" ? "Enter" : SHIFTED.test(key) ? `Shift+${key}` : key, { delay });
}

/** A guest that gets no processor time for a while loses keys, so what was not answered is typed again, more slowly. */
async function isTyped(page) {
  for (let tries = 0; tries < 4; tries += 1) {
    n += 1;
    const answer = `typed-${n * 7}\r\n`;
    await type(page, `echo typed-$((${n}*7)) > /dev/ttyS0\n`, 15 << tries);
    if (await until("an answer", () => said().includes(answer), 6_000).then(() => true, () => false)) return tries + 1;
    await page.keyboard.press("Control+c", { delay: 200 });
  }
  throw new Error(`the guest did not answer: ${said().slice(-500)}`);
}

/** The guest has no tablet, so it has got the mouse by the click: the toolbar says how to get it back. */
async function keepsTheMouse(page) {
  const held = () => page.evaluate(() => document.pointerLockElement?.className);
  const hint = page.getByRole("toolbar", { name: "Session" }).getByText("Esc frees the mouse");
  assert.equal(await held(), "screen-picture");
  await hint.waitFor();
  await accessible(page, "a screen that has the mouse");
  await shot(page, "session-spice-mouse");
  // Esc is a key of the browser's window, which playwright's keys pass by.
  await page.evaluate(() => document.exitPointerLock());
  await until("the mouse is free", async () => (await held()) === undefined);
  await hint.waitFor({ state: "detached" });
  // Some browsers refuse a new lock for a moment after Esc.
  await until("the guest has it again", async () => {
    await page.locator(".pane-view canvas").click();
    return (await held()) !== undefined;
  });
  await hint.waitFor();
  // The keys that lead out of the screen free the mouse, too.
  await page.keyboard.press("Control+Shift+F6");
  await until("the mouse is free", async () => (await held()) === undefined);
  await hint.waitFor({ state: "detached" });
}

const screen = (view, query) => async () => {
  const page = await tab();
  monitor ??= await Monitor.connect();
  await open(page, view, query);
  await page.locator(".pane-view canvas").waitFor();
  await isExact(page);
  const first = await picture(page);
  await page.locator(".pane-view canvas").click();
  const tries = await isTyped(page);
  await isExact(page);
  const changed = differing(first, await picture(page));
  console.log(`${view}: ${first.width}x${first.height}, typed ${tries} times, ${changed} pixels changed, 0 differ from QEMU's own picture`);
  assert.notEqual(changed, 0);
  await shot(page, `session-${view}-typed`);
  if (view === "spice") await keepsTheMouse(page);
  await page.keyboard.press("Control+Shift+F6");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await page.close();
};

await run({
  "VNC: keys arrive, and no pixel differs": screen("vnc", ""),
  "SPICE: keys arrive, and no pixel differs": screen("spice", ""),
});
