// The guest's screens: typed keys change them, and at rest no pixel differs from what QEMU sees.
import { open, run, shot, tab } from "./chain.mjs";
import { showsGuest } from "./guest.mjs";

const screen = (view) => async () => {
  const page = await tab();
  await open(page, view);
  await page.locator(".pane-view canvas").waitFor();
  await showsGuest(page, view, {
    click: () => page.locator(".pane-view canvas").click(),
    async press(keys, delay) { for (const key of keys) await page.keyboard.press(key, { delay }); },
  });
  await shot(page, `session-${view}-typed`);
  // By keys, because a guest without a tablet keeps the pointer.
  await page.keyboard.press("Control+Shift+F6");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await page.close();
};

await run({
  "VNC: keys arrive, and no pixel differs": screen("vnc"),
  "SPICE: keys arrive, and no pixel differs": screen("spice"),
});
