// Firefox, controlled through geckodriver: as much of a tab's interface in playwright-core as the scripts share, and ways to
// find things by their words.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chain, until, watched } from "./chain.mjs";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const parts = path.join(process.env.STREAM_TEST_CACHE ?? path.join(root, ".cache/parts"), "firefox");
if (!existsSync(parts)) throw new Error(`${parts} is not there: run \`tests/parts/install --slow\``);
const require = createRequire(path.join(parts, "package.json"));
const { Builder, Key } = require("selenium-webdriver");
const firefox = require("selenium-webdriver/firefox.js");

const KEYS = { Control: Key.CONTROL, Shift: Key.SHIFT, Enter: Key.ENTER, Escape: Key.ESCAPE };
const DEADLINES = { pageLoad: 30_000, script: 30_000, implicit: 0 };

class Tab {
  #driver;
  #downloads;

  constructor(driver, downloads) {
    this.#driver = driver;
    this.#downloads = downloads;
  }

  goto(url) { return this.#driver.get(url); }

  url() { return this.#driver.getCurrentUrl(); }

  cookies() { return this.#driver.manage().getCookies(); }

  isClosed() { return false; }

  evaluate(look, ...given) { return this.#driver.executeScript(`return (${look})(...arguments)`, ...given); }

  async screenshot({ path: file }) { writeFileSync(file, await this.#driver.takeScreenshot(), "base64"); }

  keyboard = {
    type: (text) => this.#driver.actions().sendKeys(text).perform(),

    press: (key) => this.press([key]),
  };

  /** One key after the other, each perhaps with others held: `Control+Shift+f`. A request for each key would take long. */
  async press(keys, delay = 0) {
    const actions = this.#driver.actions();
    for (const key of keys) {
      const all = key.split(/(?<=\w)\+/).map((name) => KEYS[name] ?? name);
      for (const one of all) actions.keyDown(one);
      actions.pause(delay);
      for (const one of all.reverse()) actions.keyUp(one);
      actions.pause(delay);
    }
    await actions.perform();
  }

  /** What a selector finds and is visible, perhaps with an accessible name or these words. */
  async find(selector, words = "") {
    return until(`${selector} ${words}`, () => this.evaluate((selector, words) => {
      const says = (text) => text?.replace(/\s+/g, " ").trim() === words;
      return [...document.querySelectorAll(selector)].find((element) => element.checkVisibility()
        && (words === "" || says(element.getAttribute("aria-label")) || says(element.innerText) || says(element.textContent)));
    }, selector, words));
  }

  /** Some buttons can be pressed only after a moment, and WebDriver clicks on the others without an error. */
  async click(selector, words) {
    const found = await this.find(selector, words);
    await until(`${selector} ${words ?? ""} can be pressed`, () => found.isEnabled());
    await found.click();
  }

  async doubleClick(selector, words) { await this.#driver.actions().doubleClick(await this.find(selector, words)).perform(); }

  text(selector) { return this.find(selector).then((element) => element.getText()); }

  async wheel(selector, pixels) {
    await this.#driver.actions().scroll(0, 0, 0, pixels, await this.find(selector)).perform();
  }

  async resize(width, height) { await this.#driver.manage().window().setRect({ width, height }); }

  /** The file that `act` makes the browser download. */
  async downloaded(act) {
    const before = new Set(readdirSync(this.#downloads));
    await act();
    // While it is written, a file with .part is beside it.
    const name = await until("a download", () => {
      const files = readdirSync(this.#downloads).filter((file) => !before.has(file));
      return files.length === 1 && !files[0].endsWith(".part") && files[0];
    });
    return path.join(this.#downloads, name);
  }
}

/** A tab of a new Firefox. What its console has that is an error or a warning must not happen, unless
 * `expected` fits: Firefox also writes there what a policy forbids. */
export async function firefoxTab(expected) {
  const downloads = path.join(chain.dir, "downloads");
  mkdirSync(downloads, { recursive: true });
  const options = new firefox.Options().setBinary("/usr/bin/firefox-esr").addArguments("-headless").windowSize({ width: 1280, height: 900 });
  options.enableBidi();
  options.setPreference("browser.download.folderList", 2).setPreference("browser.download.dir", downloads);
  // Firefox's list of downloads opens otherwise, and has the focus from then on.
  options.setPreference("browser.download.alwaysOpenPanel", false);
  options.setPreference("ui.prefersReducedMotion", 1);
  const geckodriver = path.join(execFileSync(path.join(root, "packaging/crate"), ["geckodriver"], { encoding: "utf8" }).trim(), "geckodriver");
  const driver = await new Builder().forBrowser("firefox").setFirefoxOptions(options)
    .setFirefoxService(new firefox.ServiceBuilder(geckodriver)).build();
  const tab = new Tab(driver, downloads);
  const seen = watched(tab, () => driver.quit());
  await driver.manage().setTimeouts(DEADLINES);
  console.log(`Firefox ${(await driver.getCapabilities()).get("browserVersion")}`);

  const bidi = await driver.getBidi();
  await bidi.waitForConnection();
  bidi.socket.on("message", (message) => {
    const { method, params } = JSON.parse(message);
    if (method !== "log.entryAdded" || !["error", "warn"].includes(params.level) || expected?.test(params.text)) return;
    const at = params.stackTrace?.callFrames[0];
    seen.problems.push(`${params.type} ${params.level}: ${params.text}${at ? ` (${at.url}:${at.lineNumber})` : ""}`);
  });
  await bidi.subscribe("log.entryAdded");
  return tab;
}
