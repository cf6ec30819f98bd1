// The terminal view in Chromium against a real websocket. Run: npm run test:views
import assert from "node:assert/strict";
import { test } from "node:test";
import { action, opener, shots, until } from "./views/harness.mjs";

let host;
// The size of the terminal comes first.
const open = opener("terminal", (side) => { host = side; }, ({ controls }) => controls.length > 0);

const screen = (page) => page.evaluate(() => document.querySelector(".xterm-rows").innerText.replaceAll("\u00a0", " "));
const events = (page, type) => page.evaluate((type) => window.events.filter((event) => event.type === type), type);
const typed = (text) => until(`the input ${JSON.stringify(text)}`, () => Buffer.concat(host.input).toString() === text)
  .catch((error) => { throw new Error(`${error.message}, but ${JSON.stringify(Buffer.concat(host.input).toString())}`); })
  .then(() => { host.input.length = 0; });

test("the size is the first message, and follows the window and the font", async () => {
  const page = await open();
  const [first] = host.controls;
  assert.equal(first.type, "resize");
  assert.ok(first.cols > 80 && first.rows > 20, JSON.stringify(first));
  host.controls.length = 0;
  await page.setViewportSize({ width: 600, height: 300 });
  const smaller = await until("a size", () => host.controls.at(-1));
  assert.ok(smaller.cols < first.cols && smaller.rows < first.rows);
  host.controls.length = 0;
  await action(page, "larger");
  const larger = await until("a size", () => host.controls.at(-1));
  assert.ok(larger.cols < smaller.cols);
  await action(page, "reset");
  await until("the size before", () => host.controls.at(-1).cols === smaller.cols);
  await page.close();
});

test("keys, paste, and keys of the phone bar", async () => {
  const page = await open();
  await page.keyboard.type("ls -l");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Control+c");
  await page.keyboard.press("ArrowUp");
  await typed("ls -l\r\x03\x1b[A");
  await host.send("\x1b[?1h\x1b[?2004h");
  await until("the modes", () => page.evaluate(() => window.view.sockets[0].stats.bytesIn > 0));
  await page.waitForTimeout(100);
  await page.evaluate(() => {
    window.view.key("ArrowUp", {});
    window.view.key("c", { ctrl: true });
    window.view.key("Tab", { shift: true });
    window.view.paste("two\nlines\x1b[201~evil\x03");
  });
  await typed("\x1bOA\x03\x1b[Z\x1b[200~two\rlines[201~evil\x1b[201~");
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "from the\x1b clipboard");
    document.querySelector(".xterm-helper-textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await typed("\x1b[200~from the clipboard\x1b[201~");
  await page.evaluate(() => window.view.type("typed slowly\nżółć"));
  await typed("typed slowly\rżółć");
  await page.close();
});

test("read-only sends nothing and says so", async () => {
  const page = await open("&read-only");
  await page.keyboard.type("x");
  await page.evaluate(() => { window.view.paste("y"); window.view.key("Enter", {}); void window.view.type("z"); });
  await host.send("\x1b[c\x1b[6n");
  await page.waitForTimeout(300);
  assert.equal(Buffer.concat(host.input).toString(), "", "not even answers to the program");
  assert.match((await events(page, "notice"))[0].text, /read-only/);
  await page.close();
});

test("acknowledgements follow the drawing, and nothing is lost", async () => {
  const page = await open();
  await until("the first acknowledgement", () => host.credit);
  let text = "";
  for (let line = 0; line < 30_000; line++) text += `line ${line}\r\n`;
  let most = 0;
  for (let at = 0; at < text.length; at += 16_384) {
    await host.send(text.slice(at, at + 16_384));
    most = Math.max(most, host.unacknowledged);
  }
  await until("the last line", async () => /line 29999/.test(await screen(page)), 30_000);
  assert.ok(most <= 256 * 1024 + 16_384, String(most));
  const { name, lines } = await page.evaluate(async () => {
    const { name, data } = window.view.download();
    return { name, lines: (await data.text()).trimEnd().split("\n") };
  });
  assert.match(name, /^terminal-[\dT-]+\.txt$/);
  assert.equal(lines.length, 30_000);
  assert.ok(lines.every((line, at) => line === `line ${at}`));
  await page.close();
});

test("the download joins lines that were wrapped", async () => {
  const page = await open();
  const long = "0123456789".repeat(40);
  await host.send(`${long}\r\nshort  \r\n`);
  // Spaces that were written stay.
  await until("the lines", async () => /short/.test(await screen(page)));
  assert.equal(await page.evaluate(async () => (await window.view.download().data.text())), `${long}\nshort  \n`);
  await page.close();
});

test("titles and what would touch the clipboard are text or nothing; links are asked about", async () => {
  const page = await open();
  await host.send("\x1b]0;evil <b>title</b>\x07\x1b]52;c;ZXZpbA==\x07\x1b]8;;https://evil.example/\x1b\\my bank\x1b]8;;\x1b\\ javascript:alert(1) https://example.com/a\r\n");
  await until("the line", async () => /my bank/.test(await screen(page)));
  assert.deepEqual(await events(page, "title"), [{ type: "title", text: "evil <b>title</b>" }]);
  assert.deepEqual(await events(page, "clipboard"), []);
  const row = await page.locator(".xterm-rows > div").first().boundingBox();
  await page.mouse.move(row.x + 30, row.y + row.height / 2);
  await page.waitForTimeout(200);
  await page.mouse.click(row.x + 32, row.y + row.height / 2);
  const link = page.locator(".view-row a");
  await link.waitFor({ state: "visible" });
  assert.deepEqual([await link.textContent(), await link.getAttribute("rel"), await link.getAttribute("target")], ["https://evil.example/", "noopener noreferrer", "_blank"]);
  await page.screenshot({ path: `${shots}/terminal-link.png` });
  await page.keyboard.press("Escape");
  assert.equal(await link.isVisible(), false);
  await page.close();
});

for (const [name, options] of [["dark", {}], ["light", { colorScheme: "light" }], ["narrow", { viewport: { width: 360, height: 640 } }]]) {
  test(`search, exit and end; no violation of the policy or of WCAG (${name})`, async () => {
    const page = await open("&set-screen-reader=true", options);
    await host.send("\x1b[31mred\x1b[0m \x1b[38;2;255;100;0mtrue colour\x1b[0m \x1b[44mback\x1b[0m ąę\r\nneedle 1\r\nneedle 2\r\n$ ");
    await until("the lines", async () => /needle 2/.test(await screen(page)));
    await page.keyboard.press("Control+Shift+F");
    await page.keyboard.type("needle");
    await until("the count", async () => /of 2/.test(await page.textContent(".view-row .view-row-text")));
    await page.screenshot({ path: `${shots}/terminal-${name}.png` });
    await page.evaluate((await import("axe-core")).default.source);
    const { violations } = await page.evaluate(() => axe.run({ rules: { "page-has-heading-one": { enabled: false }, region: { enabled: false } } }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 300))]), []);
    await page.keyboard.press("Escape");
    await page.keyboard.type("q");
    await typed("q");
    host.control({ type: "exit", code: 3 });
    host.socket.close(1000, "target ended");
    await until("the end", async () => (await events(page, "ended")).length === 1);
    assert.deepEqual(await events(page, "exit"), [{ type: "exit", code: 3 }]);
    assert.deepEqual(await page.evaluate(() => window.violations), []);
    await page.evaluate(() => window.view.dispose());
    assert.equal(await page.evaluate(() => document.querySelector("main").childElementCount), 0);
    await page.close();
  });
}
