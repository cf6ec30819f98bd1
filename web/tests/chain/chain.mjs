// What the scripts share: the chain that tests/page.rs started, a browser, and what must be true of every page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { chromium } from "playwright-core";

/** `{ origin, ip, dir, pictures, key, soak }` */
export const chain = JSON.parse(process.env.STREAM_CHAIN);
export const sockets = chain.origin.replace(/^http/, "ws");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks the test for something. */
export async function ask(request, more = {}) {
  const began = Date.now();
  process.stdout.write(`>> ${JSON.stringify({ do: request, ...more })}\n`);
  const answer = JSON.parse((await answers.next()).value);
  if (Date.now() - began > 2000) console.log(`${request} took ${((Date.now() - began) / 1000).toFixed(1)} s`);
  return answer;
}

export async function api(method, where, body = null) {
  const answer = await ask("api", { method, path: `/api/v1/${where}`, body });
  assert.ok(answer.status < 300, `${method} ${where}: ${JSON.stringify(answer)}`);
  return answer.body;
}

/** Waits until `look` gives something true. */
export async function until(what, look, ms = 30_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await pause(50);
  }
}

export const LOOKS = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: "light", hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
};

let browser;
const all = [];
const closing = [];

/** What `run` looks at in the end: a page, and all that must not happen on it. `close` ends its browser. */
export function watched(page, close) {
  const seen = { page, problems: [], sockets: [], calls: [], sessions: [] };
  all.push(seen);
  if (close) closing.push(close);
  return seen;
}

/** A tab of a browser of its own: no cookie, nothing kept. `beside`: a tab whose browser it shares. */
export async function tab({ look = LOOKS.light, expected, beside, signedIn = beside === undefined, permissions = [] } = {}) {
  if (!browser) {
    browser = await chromium.launch({
      executablePath: "/usr/bin/chromium", headless: true,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"],
    });
    closing.push(() => browser.close());
  }
  const context = beside?.context() ?? await browser.newContext({ ...look, reducedMotion: "reduce", permissions });
  const page = await context.newPage();
  await watch(page, expected);
  if (signedIn) {
    await page.goto(`${chain.origin}/sign-in`);
    await page.getByLabel("API key").fill(chain.key);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Hosts" }).waitFor();
  }
  return page;
}

/** From now on all that must not happen on a page is collected. `expected`: what the browser may say all the same. */
async function watch(page, expected) {
  page.setDefaultTimeout(30_000);
  const seen = watched(page);
  page.on("pageerror", (error) => seen.problems.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    if (dialog.type() !== "beforeunload") seen.problems.push(`dialog: ${dialog.message()}`);
    void dialog.accept().catch(() => undefined);
  });
  page.on("console", (message) => {
    const text = message.text();
    if (/Content Security Policy|TrustedScript|TrustedHTML|postMessage/.test(text) && !expected?.test(text)) seen.problems.push(`console: ${text}`);
  });
  page.on("websocket", (socket) => seen.sockets.push(socket.url()));
  page.on("request", (request) => { if (new URL(request.url()).pathname.startsWith("/api/")) seen.calls.push(`${request.method()} ${request.url()}`); });
  page.on("response", async (response) => {
    if (response.request().method() !== "POST" || !response.url().endsWith("/api/v1/sessions") || !response.ok()) return;
    const body = await response.json().catch(() => undefined);
    if (body) seen.sessions.push(body);
  });
  await page.exposeFunction("streamTestViolation", (text) => { if (!expected?.test(text)) seen.problems.push(`policy: ${text}`); });
  await page.addInitScript(() => {
    window.streamTestCopied = [];
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile, lineNumber }) => {
      window.streamTestViolation?.(`${effectiveDirective} ${blockedURI} ${sourceFile}:${lineNumber}`);
    }, true);
    const clipboard = navigator.clipboard;
    if (clipboard) {
      const real = clipboard.writeText.bind(clipboard);
      clipboard.writeText = (text) => { window.streamTestCopied.push(text); return real(text); };
    }
  });
}

export const seenOn = (page) => all.find((seen) => seen.page === page);

/** Opens a target of the host by its address, and agrees. */
export async function open(page, target, query = "") {
  await page.goto(`${chain.origin}/open/h1/${target}${query}`);
  await page.getByRole("button", { name: "Open", exact: true }).click();
}

/** Chooses an action of the session's toolbar, or of the menu at its end. */
export async function act(page, name) {
  const button = page.getByRole("toolbar", { name: "Session" }).getByRole("button", { name, exact: true });
  if (await button.isVisible()) return button.click();
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("menuitem", { name, exact: true }).click();
}

/** What a terminal shows, one line for each row. */
export const rows = (page) => page.evaluate(() => [...document.querySelectorAll(".xterm-rows > div")].map((row) => row.textContent.replaceAll("\u00a0", " ").trimEnd()).join("\n").trimEnd());

/** Waits until the terminal shows a text, and returns all of it. */
export async function says(page, text) {
  let shown = "";
  await until("the terminal", async () => {
    shown = await rows(page);
    return typeof text === "string" ? shown.includes(text) : text.test(shown);
  }).catch((error) => { throw new Error(`${error.message}: no ${text} in:\n${shown}`); });
  return shown;
}

/** Waits for a shell's prompt. */
export const prompt = (page) => says(page, /\$ *$/);

export async function command(page, text) {
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

export async function endCard(page) {
  const card = page.locator(".end-card");
  await card.waitFor();
  return (await card.innerText()).replace(/\s+/g, " ");
}

export async function shot(page, name) {
  const file = path.join(chain.pictures, `${name}.png`);
  await page.screenshot({ path: file });
  console.log(`picture ${file}`);
}

/** No violation of axe-core's rules. */
export async function accessible(page, name) {
  const found = [];
  for (const frame of page.frames()) {
    await frame.evaluate(axe);
    const { violations } = await frame.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], iframes: false }));
    found.push(...violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ target, html }) => `${target} ${html.slice(0, 160)}`).join("; ")}`));
  }
  assert.deepEqual(found, [], `axe-core on ${name}`);
}

/** Runs the parts one after the other, and then looks at what must not have happened. */
export async function run(parts) {
  let failed = false;
  for (const [name, part] of Object.entries(parts)) {
    const began = Date.now();
    try {
      await part();
      console.log(`ok ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed = true;
      console.log(`FAILED ${name}: ${error.stack}`);
      for (const { page } of all) if (!page.isClosed()) await page.screenshot({ path: path.join(chain.pictures, `failed-${all.findIndex((seen) => seen.page === page)}.png`) }).catch(() => undefined);
      // Each part goes on where the one before it was.
      break;
    }
  }
  const problems = all.flatMap(({ problems }) => problems);
  console.log(`${all.length} tabs, ${problems.length} violations of the policy, errors and dialogs`);
  for (const problem of problems) console.log(`PROBLEM ${problem}`);
  for (const close of closing) await close();
  process.exit(failed || problems.length > 0 ? 1 : 0);
}
