// How soon the page can be used: from the start of a navigation until what a person needs is drawn and takes keys. Each
// load is in a new browser context, which keeps nothing. A bare page with one input, loaded in turn with the others, is
// what browser and machine need for any page: on a busy machine it is slow, too, and `1.5 x` is 1.5 times that.
// Usage: node tests/first-view.mjs [--loads N] [--key FILE] NAME=ORIGIN ...; with a key also the list of hosts, signed in.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { devtools } from "./devtools.mjs";

const RATES = [1, 4];
const BARE = '<!doctype html><html lang="en"><title>Bare</title><input autofocus>';
const LONGEST = 60_000;

/** Runs in the page: a promise of the time at which the element has been drawn, two frames after it came. */
function interactive(selector) {
  window.interactiveAfter = new Promise((done) => {
    const look = () => {
      if (!document.querySelector(selector)) return false;
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
      return true;
    };
    if (!look()) new MutationObserver((_, observer) => { if (look()) observer.disconnect(); }).observe(document, { childList: true, subtree: true });
  });
}

/** One load, in milliseconds: on the clock, and of processor time of the page's thread, throttling included. */
async function load(browser, { url, selector, cookies = [] }, rate) {
  const { browserContextId } = await browser.send("Target.createBrowserContext");
  try {
    if (cookies.length > 0) await browser.send("Storage.setCookies", { cookies, browserContextId });
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank", browserContextId, width: 1280, height: 800 });
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    await browser.send("Page.enable", {}, sessionId);
    await browser.send("Emulation.setCPUThrottlingRate", { rate }, sessionId);
    await browser.send("Page.addScriptToEvaluateOnNewDocument", { source: `(${interactive})(${JSON.stringify(selector)})` }, sessionId);
    await browser.send("Performance.enable", { timeDomain: "threadTicks" }, sessionId);
    await browser.send("Page.navigate", { url }, sessionId);
    const { result } = await browser.send("Runtime.evaluate", { expression: "window.interactiveAfter", awaitPromise: true, timeout: LONGEST }, sessionId);
    if (typeof result.value !== "number") throw new Error(`${url} has no ${selector}: ${JSON.stringify(result)}`);
    const { metrics } = await browser.send("Performance.getMetrics", {}, sessionId);
    return { clock: result.value, processor: metrics.find(({ name }) => name === "ThreadTime").value * 1000 };
  } finally {
    await browser.send("Target.disposeBrowserContext", { browserContextId });
  }
}

/** The cookie of who signs in with this key. */
async function signIn(origin, key) {
  const response = await fetch(`${origin}/api/v1/sign-in`, {
    method: "POST", headers: { "Content-Type": "application/json", Origin: origin, "Sec-Fetch-Site": "same-origin" }, body: JSON.stringify({ api_key: key }),
  });
  if (!response.ok) throw new Error(`sign-in: ${response.status} ${await response.text()}`);
  const [, name, value] = /^([^=]+)=([^;]*)/.exec(response.headers.getSetCookie()[0]);
  return { name, value, url: origin, secure: true, httpOnly: true, sameSite: "Strict", path: "/" };
}

/** Loads the first views of these origins in turn, so that what else runs slows all of them, and prints how soon they can be used. */
export async function measure(origins, { loads = 5, key } = {}) {
  const server = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(BARE)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const views = [{ name: "a bare page", url: `http://127.0.0.1:${server.address().port}/`, selector: "input" }];
  for (const [name, origin] of Object.entries(origins)) {
    views.push({ name: `${name}, sign-in`, url: `${origin}/`, selector: "#key" });
    if (key) views.push({ name: `${name}, hosts and targets`, url: `${origin}/`, selector: ".target-link", cookies: [await signIn(origin, key)] });
  }
  const all = views.flatMap((view) => RATES.map((rate) => ({ ...view, rate, loads: [] })));
  const browser = await devtools();
  try {
    // The first round only warms the browser up.
    for (let round = 0; round <= loads; round += 1) {
      for (const view of all) {
        const one = await load(browser, view, view.rate);
        if (round > 0) view.loads.push(one);
      }
    }
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
  const sorted = (all, what) => all.map((one) => one[what]).sort((one, other) => one - other);
  for (const wanted of RATES) {
    let bare;
    for (const { name, loads: those } of all.filter(({ rate }) => rate === wanted)) {
      const [clock, processor] = [sorted(those, "clock"), sorted(those, "processor")];
      const figures = { best: clock[0], median: clock[loads >> 1], "processor time": processor[loads >> 1] };
      bare ??= figures;
      const words = Object.entries(figures).map(([what, ms]) => `${what} ${ms.toFixed(0)} ms (${(ms / bare[what]).toFixed(1)} x)`);
      console.log(`first view, ${wanted}x CPU throttling, ${name}: ${words.join(", ")} of ${loads} loads`);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { loads: { type: "string", default: "9" }, key: { type: "string" } } });
  const origins = Object.fromEntries(positionals.map((text) => text.split(/=(.*)/s)));
  await measure(origins, { loads: Number(values.loads), key: values.key && readFileSync(values.key, "utf8").trim() });
}
