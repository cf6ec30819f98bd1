// Screenshots of every page and state, with axe-core on each. Usage: node tests/shots.mjs OUT [PATTERN]
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

const out = process.argv[2] ?? "shots";
const only = new RegExp(process.argv[3] ?? "");
mkdirSync(out, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const wide = { width: 1200, height: 780 };
const phone = { width: 360, height: 740 };

const click = (name, role = "button") => async (page) => page.getByRole(role, { name }).first().click();
const wait = (text) => async (page) => page.getByText(text).first().waitFor({ timeout: 8000 });
const all = (...steps) => async (page, server) => { for (const step of steps) await step(page, server); };
const agree = all(wait("A link wants"), async (page) => page.getByRole("button", { name: "Open", exact: true }).click());
const pause = (ms) => async (page) => page.waitForTimeout(ms);

/** name, world, path, what to do first, looks */
const SHOTS = [
  ["sign-in", "signed-out", "/", wait("API key")],
  ["sign-in-wrong", "signed-out", "/", async (page) => { await page.getByLabel("API key").fill("wrong"); await page.keyboard.press("Enter"); await page.getByRole("alert").waitFor(); }],
  ["sign-in-http", "signed-out", "/", async (page) => { await page.getByLabel("API key").fill("http"); await page.keyboard.press("Enter"); await page.getByRole("alert").waitFor(); }],
  ["sign-in-link", "signed-out", "/sign-in#secret", wait("It works once")],
  ["sign-in-link-used", "signed-out", "/sign-in#used", wait("already used")],
  ["hosts", "usual", "/", all(wait("web1"), click("web1"), wait("Guest screen"))],
  ["hosts-offline", "usual", "/", all(wait("edge-berlin"), click("edge-berlin"), wait("Start the host"))],
  ["hosts-menu", "usual", "/", all(wait("web1"), click("web1"), wait("Guest screen"), click("More ways to open Guest screen"))],
  ["hosts-account", "usual", "/", all(wait("web1"), click("Account and colours"))],
  ["hosts-params", "usual", "/", all(wait("web1"), click("web1"), click("Open Deploy", "link"), wait("The owner of the host decides"))],
  ["hosts-search", "usual", "/", all(wait("web1"), click("web1"), wait("Guest screen"), async (page) => { await page.keyboard.press("/"); await page.keyboard.type("serial"); }, wait("1 found"))],
  ["hosts-nothing", "usual", "/", all(wait("web1"), async (page) => page.getByRole("searchbox").fill("xyz"), wait("Nothing found"))],
  ["hosts-empty", "empty", "/", wait("No host yet")],
  ["hosts-error", "error", "/", wait("cannot reach its hosts")],
  ["hosts-no-targets", "no-targets", "/", all(wait("db1"), click("db1"), wait("Nothing here"))],
  ["hosts-evil", "evil", "/", wait("asks for")],
  ["hosts-many", "many", "/", wait("Load more")],
  ["unreachable", "broken", "/", wait("does not answer")],
  ["sessions", "usual", "/sessions", wait("carol")],
  ["sessions-all", "usual", "/sessions", all(wait("carol"), click("All"), wait("4410"))],
  ["sessions-end", "usual", "/sessions", all(wait("carol"), click("End the session of carol"), wait("ends at once"))],
  ["sessions-empty", "empty", "/sessions", wait("No session is open")],
  ["open-link", "usual", "/open/web1/deploy?param=branch%3Dmain&mode=rw", wait("A link wants")],
  ["open-as", "usual", "/open/web1/port", all(agree, wait("How is this shown"))],
  ["open-offline", "usual", "/open/edge-berlin/shell", wait("The host is offline")],
  ["open-unknown", "usual", "/open/web1/nothing", wait("no such target")],
  ["open-values", "usual", "/open/web1/deploy?param=ref%3Dbad", all(agree, wait("did not accept the values"))],
  ["open-bad", "usual", "/open/web1", wait("not complete")],
  ["log", "usual", "/open/web1/syslog", all(agree, pause(2000))],
  ["terminal", "usual", "/open/web1/shell", all(agree, pause(1800))],
  ["terminal-ro", "usual", "/open/web1/shell?mode=ro", all(agree, pause(1800))],
  ["terminal-ending", "ending", "/open/web1/shell", all(agree, pause(1800))],
  ["terminal-menu", "usual", "/open/web1/shell", all(agree, pause(1500), click("More"), pause(200))],
  ["terminal-type", "usual", "/open/web1/shell", all(agree, pause(1500), async (page) => {
    const button = page.getByRole("button", { name: "Type a text…" });
    if (await button.isVisible()) await button.click(); else { await page.getByRole("button", { name: "More", exact: true }).click(); await page.getByRole("menuitem", { name: "Type a text…" }).click(); }
  }, pause(200))],
  ["terminal-paste", "usual", "/open/web1/shell", all(agree, pause(1500), async (page) => page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "cd /srv\nrm -rf ./build\u202e\necho done\n");
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }), wait("Paste 3 lines"))],
  ["end-4410", "usual", "/open/ends/end-4410", all(agree, wait("The session was ended"))],
  ["end-1000", "usual", "/open/ends/end-1000", all(agree, wait("The program ended"))],
  ["split", "usual", "/open/web1/shell|web2/console", all(async (page) => { 
    for (let pane = 0; pane < 2; pane += 1) await page.locator(".pane").nth(pane).getByRole("button", { name: "Open", exact: true }).click();
  }, pause(2200))],
  ["view-none", "usual", "/view", wait("There is no session")],
  ["view-refused", "usual", "/view#wss://evil.example/v1/stream/abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", wait("not opened")],
  ["view-choose", "usual", (origin) => `/view#${origin.replace(/^http/, "ws")}/v1/stream/shell`, wait("How is this shown")],
  ["view-end", "usual", (origin) => `/view#url=${encodeURIComponent(`${origin.replace(/^http/, "ws")}/v1/stream/end-4502`)}&view=terminal&title=Shell%20of%20web1`, wait("The target failed")],
];

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--headless", "--no-sandbox", "--disable-gpu"] });
const server = await serve();
let bad = 0;
for (const [name, world, path, act] of SHOTS) {
  if (!only.test(name)) continue;
  for (const [look, options] of [["light", { viewport: wide, colorScheme: "light" }], ["dark", { viewport: wide, colorScheme: "dark" }], ["phone", { viewport: phone, colorScheme: "light", hasTouch: true, isMobile: true, deviceScaleFactor: 2 }]]) {
    server.change(world);
    const context = await browser.newContext({ ...options, reducedMotion: "reduce" });
    const page = await context.newPage();
    const problems = [];
    page.on("console", (message) => { if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(message.text())) problems.push(message.text()); });
    page.on("pageerror", (error) => problems.push(error.message));
    try {
      await page.goto(server.origin + (typeof path === "function" ? path(server.origin) : path));
      await act(page, server);
    } catch (error) {
      problems.push(`did not come so far: ${error.message.split("\n")[0]}`);
    }
    await page.screenshot({ path: join(out, `${name}-${look}.png`) });
    if (look !== "phone" || (await page.evaluate(() => document.documentElement.scrollWidth)) > 360) {
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (overflow > 0) problems.push(`is ${overflow} pixels too wide`);
    }
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    for (const { id, nodes } of violations) problems.push(`axe ${id}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target} ${failureSummary.split("\n")[1]?.trim()}`).join("; ")}`);
    if (problems.length > 0) { bad += 1; console.log(`${name}-${look}\n  ${problems.join("\n  ")}`); }
    await context.close();
  }
}
await browser.close();
await server.close();
console.log(bad === 0 ? "all well" : `${bad} with problems`);
process.exitCode = bad === 0 ? 0 : 1;
