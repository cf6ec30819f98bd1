// The log view in Chromium against a real websocket. Run: npm run test:views
import assert from "node:assert/strict";
import { test } from "node:test";
import { action, opener, shots, until } from "./views/harness.mjs";

let host;
const open = opener("log", (side) => { host = side; });

const rows = (page) => page.evaluate(() => [...document.querySelector(".log-rows").children].map((row) => row.textContent));
const lastRow = async (page) => (await rows(page)).at(-1);
const follows = (page) => page.evaluate(() => document.querySelector(".log-status button").getAttribute("aria-pressed") === "true");
const numbers = (from, to) => Array.from({ length: to - from }, (_, at) => `line ${from + at} of the log\n`).join("");
const told = (message) => until(`the message ${message.type}`, () => {
  const at = host.controls.findIndex(({ type }) => type === message.type);
  return at >= 0 && host.controls.splice(at, 1);
}).then(([got]) => assert.deepEqual(got, message));

for (const wrap of ["false", "true"]) {
  test(`only the user's own scroll stops following (wrap ${wrap})`, async () => {
    const page = await open(`&set-wrap=${wrap}`);
    await host.send(numbers(0, 1000));
    await until("the end", async () => await lastRow(page) === "line 999 of the log");
    await page.setViewportSize({ width: 500, height: 300 });
    await host.send(numbers(1000, 1500));
    await until("the end", async () => await lastRow(page) === "line 1499 of the log");
    assert.equal(await follows(page), true, "a change of size stops nothing");
    await page.mouse.move(200, 150);
    await page.mouse.wheel(0, -400);
    await until("no following", async () => !await follows(page));
    await page.waitForTimeout(300);
    const seen = await rows(page);
    await host.send(numbers(1500, 4000));
    await until("the count", () => page.evaluate(() => document.querySelector(".log-status").textContent.includes("2,500 new")));
    assert.deepEqual(await rows(page), seen, "what is read stays in place");
    await page.keyboard.press("End");
    await until("the end", async () => await lastRow(page) === "line 3999 of the log");
    assert.equal(await follows(page), true);
    await page.keyboard.press("PageUp");
    await until("no following", async () => !await follows(page));
    await page.click(".log-status button");
    await until("the end", async () => await lastRow(page) === "line 3999 of the log");
    await page.evaluate(() => window.view.key("PageUp", {}));
    await until("no following", async () => !await follows(page));
    await page.evaluate(() => window.view.key("End", {}));
    await until("the end", async () => await lastRow(page) === "line 3999 of the log");
    await page.keyboard.press("Home");
    await until("the beginning", async () => (await rows(page))[0] === "line 0 of the log");
    await page.mouse.move(200, 150);
    await page.mouse.wheel(0, 1_000_000);
    await until("following again", async () => await follows(page));
    assert.equal(await lastRow(page), "line 3999 of the log");
    await page.close();
  });
}

test("each line can be reached when the scroll bar is shorter than the log", async () => {
  const page = await open("&set-wrap=false");
  for (let at = 0; at < 600_000; at += 5000) await host.send(numbers(at, at + 5000));
  await until("the end", async () => await lastRow(page) === "line 599999 of the log", 30_000);
  const reached = await page.evaluate(async () => {
    const scroll = document.querySelector(".log-scroll");
    scroll.dispatchEvent(new WheelEvent("wheel"));
    const reached = [];
    for (const part of [0.5, 0, 0.25]) {
      scroll.dispatchEvent(new WheelEvent("wheel"));
      scroll.scrollTop = part * (scroll.scrollHeight - scroll.clientHeight);
      await new Promise((later) => setTimeout(later, 200));
      reached.push(Number(/\d+/.exec(document.querySelector(".log-rows").firstElementChild.textContent)));
    }
    return reached;
  });
  assert.ok(Math.abs(reached[0] - 300_000) < 100 && reached[1] === 0 && Math.abs(reached[2] - 150_000) < 100, String(reached));
  await page.close();
});

test("search counts, jumps and marks", async () => {
  const page = await open("&set-wrap=false");
  await host.send(numbers(0, 20_000));
  await until("the end", async () => await lastRow(page) === "line 19999 of the log");
  await page.keyboard.press("Control+f");
  await page.keyboard.type("LINE 777");
  const count = () => page.textContent(".view-row .view-row-text");
  await until("the count", async () => await count() === "11 lines");
  await page.keyboard.press("Enter");
  await until("the first", async () => await count() === "1 of 11 lines");
  await until("its row", async () => (await rows(page)).includes("line 777 of the log"));
  assert.equal(await page.evaluate(() => CSS.highlights.get("log-current").size), 1);
  await page.keyboard.press("Shift+Enter");
  await until("the last", async () => await count() === "11 of 11 lines");
  await host.send("here is LINE 777 again\n");
  await until("one more", async () => await count() === "11 of 12 lines");
  await page.click('button[aria-label="Match case"]');
  await until("its count", async () => await count() === "1 line");
  await page.click('button[aria-label="Regular expression"]');
  await page.fill('input[type="search"]', "(");
  await until("the error", async () => /Not a regular/.test(await count()));
  await page.fill('input[type="search"]', "^line \\d of");
  await until("its count", async () => await count() === "10 lines");
  await page.focus('input[type="search"]');
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => CSS.highlights.has("log-match")), false);
  await page.close();
});

test("filter, since and pause are asked of the host", async () => {
  const page = await open();
  await host.send(numbers(0, 3));
  await until("lines", async () => await lastRow(page) === "line 2 of the log");
  await action(page, "filter");
  await page.keyboard.type("a|b");
  await page.keyboard.press("Enter");
  await told({ type: "filter", pattern: "a|b", invert: false });
  await until("the mark", async () => await lastRow(page) === "From here on: only lines that match a|b");
  await page.click('button[aria-label="Only lines that do not match"]');
  await told({ type: "filter", pattern: "a|b", invert: true });
  await action(page, "since-hour");
  const { time } = await until("since", () => host.controls.find(({ type }) => type === "since"));
  assert.ok(Math.abs(Date.now() / 1000 - 3600 - time) < 10);
  await until("the mark", async () => (await lastRow(page)).startsWith("From here on: again, since "));
  host.control({ type: "refused", what: "since", message: "this log <b>cannot</b> start again" });
  await until("the refusal", async () => await lastRow(page) === "The host refused this: this log <b>cannot</b> start again");
  assert.ok((await rows(page)).includes("line 1 of the log"), "a refusal loses nothing");
  host.controls.length = 0;
  await page.fill('input[type="text"]', "(");
  await page.press('input[type="text"]', "Enter");
  await told({ type: "filter", pattern: "(", invert: true });
  assert.match(await page.textContent(".log-state"), /Filter: not \(/);
  host.control({ type: "refused", what: "filter", message: "unclosed group" });
  await until("the filter before", async () => /Filter: not a\|b/.test(await page.textContent(".log-state")));
  await action(page, "pause");
  await told({ type: "pause" });
  await until("its state", async () => /Paused on the host/.test(await page.textContent(".log-state")));
  await action(page, "pause");
  await told({ type: "resume" });
  host.socket.close(1000, "target ended");
  await until("the end", () => page.evaluate(() => window.events.some(({ type, code }) => type === "ended" && code === 1000)));
  await action(page, "pause");
  assert.ok(await page.evaluate(() => window.events.some(({ type, text }) => type === "notice" && text.includes("has ended"))));
  await page.close();
});

const EVIL = [
  "2026-11-29T20:14:03Z INFO  api: started on port 8080", "2026-11-29T20:14:04Z WARN  disk /var is 91 % full",
  "2026-11-29T20:14:05Z ERROR payments: timeout after 30 s", "<7>kernel: usb 1-1: new device", '{"level":"error","msg":"json"}',
  "\x1b[32mgreen\x1b[0m and \x1b[1;31mbold red\x1b[0m and \x1b[8mhidden\x1b[0m \x1b[30;40mblack\x1b[0m",
  "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;title\x07 clipboard, clear and title", "invoice\u202efdp.exe and \u2066isolated\u2069 zero\u200bwidth",
  '<img src=x onerror="alert(1)"><script>alert(1)</script>', "cut \r and returned", "bad bytes:", "tab\tseparated\tvalues",
  "long ".repeat(60),
];
for (const [name, options] of [["dark", {}], ["light", { colorScheme: "light" }], ["narrow", { viewport: { width: 360, height: 640 } }]]) {
  test(`evil lines are text (${name})`, async () => {
    const page = await open("", options);
    await host.send(Buffer.concat([Buffer.from(EVIL.join("\n") + "\n"), Buffer.from([0xff, 0xfe, 0xc3, 0x28, 10])]));
    await until("the lines", async () => (await rows(page)).length === EVIL.length + 1);
    const shown = await rows(page);
    assert.equal(shown[5], "green and bold red and hidden black");
    assert.equal(shown[6], "^[]52;c;ZXZpbA==^G^[[2J^[]0;title^G clipboard, clear and title");
    assert.equal(shown[7], "invoice<U+202E>fdp.exe and <U+2066>isolated<U+2069> zero<U+200B>width");
    assert.equal(shown[8], EVIL[8]);
    assert.equal(shown.at(-1), "\ufffd\ufffd\ufffd(");
    assert.deepEqual(await page.evaluate(() => [document.querySelectorAll(".log-rows img, .log-rows script, .log-rows [style]").length, window.violations, document.title]), [0, [], "A view"]);
    await page.keyboard.press("/");
    await page.keyboard.type("e");
    await page.keyboard.press("Enter");
    await page.waitForTimeout(500);
    await page.screenshot({ path: `${shots}/log-${name}.png` });
    await page.evaluate(await axe());
    const { violations } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], rules: { "page-has-heading-one": { enabled: false }, region: { enabled: false } } }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
    await page.close();
  });
}

async function axe() {
  const { default: { source } } = await import("axe-core");
  return source;
}
