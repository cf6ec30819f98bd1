// Every page in light, in dark and on a phone: pictures, and axe-core on each. And how soon the first view can be used.
import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import path from "node:path";
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

async function all(look) {
  const options = { look: LOOKS[look] };
  const out = await tab({ ...options, signedIn: false });
  await out.goto(chain.origin);
  await out.getByLabel("API key").waitFor();
  await seen(out, "sign-in", look);
  await out.close();

  const page = await tab(options);
  await page.getByText("Screen of the guest").first().waitFor();
  await seen(page, "hosts", look);
  for (const [name, show] of Object.entries({ terminal: shell, log, vnc: screen("vnc"), spice: screen("spice") })) {
    await show(page);
    await seen(page, name, look);
  }
  const other = await page.context().newPage();
  await other.goto(`${chain.origin}/sessions`);
  await other.getByText("Screen and sound").or(other.getByText("spice")).first().waitFor();
  await seen(other, "sessions", look);
  await other.close();
  await view(page);
  await seen(page, "view", look);
  await page.goto(`${chain.origin}/embed`);
  await page.getByText("Waiting for a session").waitFor();
  await seen(page, "embed", look);
  await page.close();
}

await run({
  "every page in light": () => all("light"),
  "every page in dark": () => all("dark"),
  "every page on a phone of 360 pixels": () => all("phone"),

  async "the first view with a processor four times slower"() {
    const times = [];
    for (let tries = 0; tries < 3; tries += 1) {
      const page = await tab({ signedIn: false });
      const protocol = await page.context().newCDPSession(page);
      await protocol.send("Emulation.setCPUThrottlingRate", { rate: 4 });
      await page.addInitScript(() => {
        new MutationObserver((_, observer) => {
          if (!document.querySelector("input")) return;
          observer.disconnect();
          // Two frames later it is drawn, and takes keys.
          requestAnimationFrame(() => requestAnimationFrame(() => { window.interactiveAfter = performance.now(); }));
        }).observe(document, { childList: true, subtree: true });
      });
      await page.goto(chain.origin);
      times.push(await (await page.waitForFunction(() => window.interactiveAfter)).jsonValue());
      await page.close();
    }
    console.log(`first view interactive after ${times.map((ms) => Math.round(ms)).join(", ")} ms (4x CPU throttling)`);
  },
});
