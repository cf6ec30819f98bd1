// The guest's screens: typed keys change them, and at rest no pixel differs from what QEMU sees.
import assert from "node:assert/strict";
import { accessible, open, run, shot, tab, until } from "./chain.mjs";
import { showsGuest } from "./guest.mjs";

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

const screen = (view) => async () => {
  const page = await tab();
  await open(page, view);
  await page.locator(".pane-view canvas").waitFor();
  await showsGuest(page, view, {
    click: () => page.locator(".pane-view canvas").click(),
    async press(keys, delay) { for (const key of keys) await page.keyboard.press(key, { delay }); },
  });
  await shot(page, `session-${view}-typed`);
  if (view === "spice") await keepsTheMouse(page);
  await page.keyboard.press("Control+Shift+F6");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await page.close();
};

await run({
  "VNC: keys arrive, and no pixel differs": screen("vnc"),
  "SPICE: keys arrive, and no pixel differs": screen("spice"),
});
