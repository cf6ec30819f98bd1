// The page of the test in Chromium, and what is seen there.
import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { chromium } from "playwright-core";
import { cssText } from "../../build/css-text.mjs";
import { keysOf, picture } from "../picture.mjs";
import { PATIENCE, until } from "./guest.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const web = path.join(here, "../..");
/** Screenshots are kept there. */
export const pictures = path.join(web, ".build/screens");

/** Builds the page with the same plugins as the product. Returns its folder. */
export async function buildPage() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "screens-page-"));
  const names = readdirSync(path.join(web, "build/plugins")).filter((name) => name.endsWith(".mjs"));
  const plugins = await Promise.all(names.map(async (name) => (await import(`../../build/plugins/${name}`)).default));
  await esbuild.build({
    absWorkingDir: web, entryPoints: [path.join(here, "page.ts")], outdir: folder, entryNames: "[name]", chunkNames: "[name]-[hash]",
    bundle: true, splitting: true, format: "esm", target: "es2022", minify: true, logLevel: "warning",
    plugins: [cssText(esbuild), ...plugins],
  });
  for (const name of ["page.html", "page.css"]) await copyFile(path.join(here, name), path.join(folder, name));
  mkdirSync(pictures, { recursive: true });
  return folder;
}

export const launch = () => chromium.launch({
  executablePath: "/usr/bin/chromium", headless: true, timeout: 60_000 * PATIENCE,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"],
});

export class Screen {
  static async open(browser, bridge, view, options = {}) {
    const screen = new Screen();
    const { target = view, viewport = { width: 1000, height: 640 }, ...query } = options;
    screen.said = [];
    const page = screen.page = await browser.newPage({ viewport });
    page.setDefaultTimeout(60_000 * PATIENCE);
    page.on("console", (message) => screen.said.push(message.text()));
    page.on("pageerror", (error) => screen.said.push(`error: ${error}`));
    page.on("dialog", (dialog) => { screen.said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    await page.goto(`${bridge.page("page.html")}?${new URLSearchParams({ view, url: bridge.url(target), ...query })}`);
    await page.waitForFunction(() => window.screenTest);
    return screen;
  }

  /** Events of a type that the view has reported. */
  events(type) {
    return this.page.evaluate((type) => window.screenTest.events.filter((event) => event.type === type), type);
  }

  event(type, ms) {
    return until(`the view reports "${type}" (it said ${this.said.join("; ")})`, async () => (await this.events(type)).at(-1), ms);
  }

  violations() {
    return this.page.evaluate(() => window.screenTest.violations);
  }

  /** Answers the newest question for a password. */
  async answer(...words) {
    await this.page.evaluate((words) => window.screenTest.events.findLast(({ type }) => type === "password").answer(...words), words);
  }

  /** Runs an action of the view by its id. */
  async run(id) {
    await this.page.evaluate((id) => {
      const all = window.screenTest.view.actions().flatMap((action) => [action, ...(action.items ?? [])]);
      all.find((action) => action.id === id).run();
    }, id);
  }

  actions() {
    return this.page.evaluate(() => window.screenTest.view.actions().flatMap(({ id, items, pressed }) => [{ id, pressed }, ...(items ?? []).map(({ id, pressed }) => ({ id, pressed }))]));
  }

  /** Presses keys as a person does. */
  async type(text, delay = 30) {
    for (const key of keysOf(text)) await this.page.keyboard.press(key, { delay });
  }

  /** The picture in the page, as Guest.picture() gives QEMU's. */
  picture() {
    return picture(this.page, "#place canvas");
  }

  async shot(name) {
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`) });
  }

  async close() {
    await this.page.evaluate(() => window.screenTest.view.dispose());
    await this.page.close();
  }
}
