// What a person does on the pages, in real Chromium against the fixture server: node tests/flows.mjs [PATTERN]
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";
import { CODES } from "./worlds.mjs";

const only = new RegExp(process.argv[2] ?? "");
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--headless", "--no-sandbox", "--disable-gpu"] });
const cases = [];
const test = (name, run) => cases.push([name, run]);
const open = (page) => page.getByRole("button", { name: "Open", exact: true }).click();
const socketOf = (server) => server.origin.replace(/^http/, "ws");

test("a link signs in after a click, and its secret leaves the address bar at once", async (page, server) => {
  server.change("signed-out");
  const answers = [];
  page.on("request", (request) => { if (request.url().includes("/api/")) answers.push(`${request.method()} ${new URL(request.url()).pathname}`); });
  await page.goto(`${server.origin}/sign-in#the-secret`);
  await page.getByRole("button", { name: "Sign in as alice" }).waitFor();
  assert.ok(!page.url().includes("#"), page.url());
  assert.ok(!answers.includes("POST /api/v1/sign-in"), "the link was used up without a click");
  await page.getByRole("button", { name: "Sign in as alice" }).click();
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await page.goBack().catch(() => undefined);
  assert.ok(!page.url().includes("secret"), page.url());
});

const onButton = (page, name) => page.waitForFunction((name) => document.activeElement.textContent.trim() === name && !document.activeElement.disabled, name);

for (const [path, button, asked] of [["/open/web1/shell", "Open", "/sessions"], ["/sign-in#the-secret", "Sign in as alice", "/sign-in"]]) {
  test(`"${button}" is not pressed by a key that was meant for the page before`, async (page, server) => {
    if (asked === "/sign-in") server.change("signed-out");
    let answers = 0;
    page.on("request", (request) => { if (request.method() === "POST" && request.url().endsWith(asked)) answers += 1; });
    // A person who hits a key again and again. In the page itself, so that both clocks are the same.
    await page.addInitScript((button) => {
      window.hits = 0;
      window.hitting = setInterval(() => {
        const [shown] = [...document.querySelectorAll("button")].filter(({ textContent }) => textContent.trim() === button);
        if (!shown) return;
        window.hits += 1;
        dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
        shown.click();
      }, 50);
    }, button);
    await page.goto(server.origin + path);
    await page.waitForFunction(() => window.hits > 30);
    // And one that was held down since before.
    await page.keyboard.down("Enter");
    await page.evaluate(() => clearInterval(window.hitting));
    await onButton(page, button);
    for (let repeats = 0; repeats < 3; repeats += 1) await page.keyboard.down("Enter");
    await page.keyboard.up("Enter");
    assert.equal(answers, 0);
    const answered = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith(asked));
    await page.keyboard.press("Enter");
    await answered;
  });
}

test("a sign-out that fails says so, and can be tried again", async (page, server) => {
  server.change("no-sign-out");
  await page.goto(server.origin);
  await page.getByRole("button", { name: "Account and colours" }).click();
  await page.getByRole("menuitem", { name: "Sign out", exact: true }).click();
  await page.getByText("You are still signed in.").waitFor();
  server.change("usual");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByLabel("API key").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
});

test("who signs out in one tab is signed out in the others", async (page, server, context) => {
  await page.goto(server.origin);
  const other = await context.newPage();
  await other.goto(server.origin);
  await other.getByRole("button", { name: "Account and colours" }).click();
  await other.getByRole("menuitem", { name: "Sign out", exact: true }).click();
  await page.getByLabel("API key").waitFor();
});

test("by keyboard alone: sign in, find a host, open a shell, type, and go back", async (page, server) => {
  server.change("signed-out");
  await page.goto(server.origin);
  await page.getByLabel("API key").waitFor();
  await page.keyboard.type("key");
  await page.keyboard.press("Enter");
  await page.getByText("web1").waitFor();
  assert.equal(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]).includes("key\"")), false);
  await page.keyboard.press("/");
  await page.keyboard.type("web1");
  await page.getByText("1 found").waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await page.getByText("Serial console").waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.locator(".xterm").waitFor();
  await page.getByText("load average").first().waitFor();
  await page.keyboard.type("whoami-typed");
  await page.getByText("whoami-typed").first().waitFor();
  await page.keyboard.press("Control+Shift+F6");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Back to the hosts");
  await page.keyboard.press("Escape");
  await page.keyboard.type("again");
  await page.keyboard.press("Control+Shift+F6");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
});

test("every close code ends in a sentence, and a new session has a new request", async (page, server) => {
  const asked = [];
  page.on("request", (request) => { if (request.method() === "POST" && request.url().endsWith("/sessions")) asked.push(request.url()); });
  for (const code of CODES.filter((one) => ![1002, 1007].includes(one))) {
    await page.goto(`${server.origin}/open/ends/end-${code}`);
    await open(page);
    await page.locator(".end-card").waitFor();
    const text = await page.locator(".end-card").innerText();
    assert.ok(text.includes(`code ${code}`), `${code}: ${text}`);
    assert.ok(await page.locator(".xterm").count() > 0, "what was on the screen is gone");
  }
  const before = asked.length;
  await page.getByRole("button", { name: "Open a new session" }).click();
  await page.locator(".end-card").waitFor({ state: "detached" });
  assert.equal(asked.length, before + 1);
});

test("a view refuses the address of another platform, and connects to nothing", async (page, server) => {
  const sockets = [];
  const calls = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  page.on("request", (request) => { if (request.url().includes("/api/")) calls.push(request.url()); });
  const address = "wss://evil.example/v1/stream/abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
  await page.goto(`${server.origin}/view#${address}`);
  await page.getByText("This address is not opened").waitFor();
  assert.ok(!page.url().includes("#"));
  assert.ok((await page.locator("main").innerText()).includes("wss://evil.example/v1/stream/abcd…"));
  await page.goto(`${server.origin}/view#url=${encodeURIComponent(`${socketOf(server)}/v1/stream/shell`)}&view=terminal&mode=ro&title=${encodeURIComponent("<img src=x onerror=alert(1)>\u202e")}`);
  await page.reload();
  await page.getByText("There is no session in this address").waitFor();
  assert.deepEqual([sockets.filter((url) => url.includes("evil")), calls], [[], []]);
});

test("a view opens this relay's address; without a view it asks for one", async (page, server) => {
  await page.goto(`${server.origin}/view#${socketOf(server)}/v1/stream/shell`);
  await page.getByRole("button", { name: /^Terminal/ }).click();
  await page.getByText("load average").first().waitFor();
  const title = await page.locator(".toolbar-title").innerText();
  assert.ok(title.startsWith(new URL(server.origin).host), title);
});

test("several lines are shown before a shell gets them", async (page, server) => {
  await page.goto(`${server.origin}/open/web1/shell`);
  await open(page);
  await page.getByText("load average").first().waitFor();
  const paste = (text) => page.evaluate((data) => {
    const transfer = new DataTransfer();
    transfer.setData("text/plain", data);
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
  }, text);
  await paste("one-line");
  await page.getByText("one-line").first().waitFor();
  await paste("first-line\nsecond-line\n");
  await page.getByRole("heading", { name: "Paste 2 lines?" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await page.getByText("first-line").count(), 0);
  await paste("first-line\nsecond-line\n");
  await page.getByRole("button", { name: "Paste 2 lines" }).click();
  await page.getByText("second-line").first().waitFor();
});

test("a page of an allowed origin shows a session and hears of its end; another origin shows nothing", async (page, server) => {
  const panel = createServer((request, response) => {
    const origin = server.origin;
    if (request.url === "/panel.js") {
      return response.writeHead(200, { "Content-Type": "text/javascript" }).end(`
        window.heard = [];
        const view = document.querySelector("stream-console");
        for (const name of ["open", "end"]) view.addEventListener(name, ({ detail }) => heard.push([name, detail.code, detail.sentence]));
        view.open("${socketOf(server)}/v1/stream/end-4502");`);
    }
    return response.writeHead(200, { "Content-Type": "text/html", "Content-Security-Policy": `default-src 'none'; script-src 'self' ${origin}; frame-src ${origin}` })
      .end(`<!doctype html><title>Panel</title><stream-console relay="${origin}" view="terminal" title="Shell"></stream-console>
        <script src="${origin}/stream-console.js"></script><script src="/panel.js"></script>`);
  });
  await new Promise((done) => panel.listen(0, "127.0.0.1", done));
  const at = (host) => `http://${host}:${panel.address().port}`;
  try {
    server.setEmbed([at("127.0.0.1")]);
    await page.goto(at("127.0.0.1"));
    await page.waitForFunction(() => window.heard.length === 2, undefined, { timeout: 15_000 });
    const heard = await page.evaluate(() => window.heard);
    assert.deepEqual([heard[0][0], heard[1][0], heard[1][1]], ["open", "end", 4502]);
    assert.match(heard[1][2], /^The target failed\./);
    page.expected = /frame-ancestors|chrome-error/;
    await page.goto(at("localhost"));
    await page.waitForTimeout(2500);
    assert.deepEqual(await page.evaluate(() => window.heard), []);
  } finally {
    panel.closeAllConnections();
    panel.close();
  }
});

test("a screen asks for its password, and its clipboard comes here only if the person wants that", async (page, server, context) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.goto(`${server.origin}/open/web1/vnc`);
  await open(page);
  await page.getByRole("heading", { name: "The screen asks for a password" }).waitFor();
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  await page.getByRole("textbox", { name: "Password" }).fill("secret");
  await page.keyboard.press("Enter");
  await page.getByText("The other side copied a text.").waitFor();
  assert.equal(await clipboard(), "mine");
  await page.getByRole("button", { name: "Copy it here" }).click();
  await page.waitForFunction(async () => await navigator.clipboard.readText() === "from guest");
  await page.evaluate(() => navigator.clipboard.writeText("pasted"));
  await page.getByRole("button", { name: "Clipboard", exact: true }).click();
  await page.getByRole("menuitemcheckbox", { name: "Always copy from there to here" }).click();
  await page.waitForFunction(async () => await navigator.clipboard.readText() === "from guest");
  await page.evaluate(() => navigator.clipboard.writeText("pasted"));
  await page.getByRole("button", { name: "Paste", exact: true }).click();
  await page.waitForFunction(async () => await navigator.clipboard.readText() === "seen:pasted");
});

test("evil names run nothing", async (page, server) => {
  server.change("evil");
  await page.goto(server.origin);
  await page.getByText("onerror=alert(1)").first().waitFor();
  assert.equal(await page.locator("#app img").count(), 0);
  assert.equal((await page.locator("#app").innerText()).includes("\u202e"), false);
});

let failed = 0;
for (const [name, run] of cases) {
  if (!only.test(name)) continue;
  const server = await serve();
  const context = await browser.newContext({ reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("dialog", (dialog) => { if (dialog.type() !== "beforeunload") problems.push(`a dialog: ${dialog.message()}`); void dialog.accept(); });
  page.on("console", (message) => {
    const text = message.text();
    if (message.type() === "error" && /Content Security Policy|TrustedScript|postMessage/.test(text) && !page.expected?.test(text)) problems.push(text);
  });
  try {
    await run(page, server, context);
    assert.deepEqual(problems, []);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n        ${error.message}\n        ${problems.join("; ")}`);
  }
  await context.close();
  await server.close();
}
await browser.close();
process.exitCode = failed === 0 ? 0 : 1;
