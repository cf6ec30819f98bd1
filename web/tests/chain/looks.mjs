// Every page in light, in dark and on a phone: pictures, and axe-core on each. And how soon the first view can be used.
import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import path from "node:path";
import { measure } from "../first-view.mjs";
import { accessible, ask, chain, command, LOOKS, open, prompt, run, says, shot, tab, until } from "./chain.mjs";

async function seen(page, name, look) {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${name} on ${look} is ${overflow} pixels too wide`);
  await shot(page, `${name}-${look}`);
  await accessible(page, `${name}, ${look}`);
}

async function shell(page) {
  await open(page, "shell");
  await prompt(page);
  await command(page, "ls --color=always /; uname -sm");
  await says(page, /Linux/);
  await prompt(page);
}

const screen = (target) => async (page) => {
  await open(page, target);
  await page.waitForFunction(() => {
    const canvas = document.querySelector(".pane-view canvas");
    if (!canvas?.width) return false;
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return pixels.some((pixel) => pixel !== pixels[0]);
  });
};

async function log(page) {
  await open(page, "log");
  await page.locator(".log-view").waitFor();
  await until("lines", async () => {
    for (const level of ["INFO served GET /", "WARN the disk is 91 % full", "ERROR cannot reach db1", "DEBUG 3 rows"]) {
      appendFileSync(path.join(chain.dir, "app.log"), `${new Date().toISOString()} ${level}\n`);
    }
    return (await page.locator(".log-rows").innerText()).includes("91 %");
  });
}

async function view(page) {
  const address = await ask("url", { target: "shell" });
  await page.goto(`${chain.origin}/view#url=${encodeURIComponent(address)}&view=terminal&title=${encodeURIComponent("A shell of another platform")}`);
  await prompt(page);
}

/** Each page once, in each of the schemes of colours. */
async function all(options, name) {
  const schemes = options.isMobile ? { [name]: "light" } : { light: "light", dark: "dark" };
  const show = async (page, what) => {
    for (const [look, colorScheme] of Object.entries(schemes)) {
      await page.emulateMedia({ colorScheme });
      await seen(page, what, look);
    }
  };
  const page = await tab({ look: options, signedIn: false });
  await page.goto(chain.origin);
  await page.getByLabel("API key").waitFor();
  await show(page, "sign-in");
  await page.getByLabel("API key").fill(chain.key);
  await page.keyboard.press("Enter");
  await page.getByText("Screen of the guest").first().waitFor();
  await show(page, "hosts");
  for (const [what, begin] of Object.entries({ terminal: shell, log, vnc: screen("vnc"), spice: screen("spice") })) {
    await begin(page);
    await show(page, what);
  }
  const other = await page.context().newPage();
  await other.goto(`${chain.origin}/sessions`);
  await other.getByText("spice").first().waitFor();
  await show(other, "sessions");
  await other.close();
  await view(page);
  await show(page, "view");
  await page.goto(`${chain.origin}/embed`);
  await page.getByText("Waiting for a session").waitFor();
  await show(page, "embed");
  await page.close();
}

await run({
  "every page in light and in dark": () => all(LOOKS.light),
  "every page on a phone of 360 pixels": () => all(LOOKS.phone, "phone"),

  "the first view with a processor four times slower": () => measure({ "the page": chain.origin }, { key: chain.key }),
});
