// Names, lines and reasons that attack the person who looks at them: all of it is text.
import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { chain, endCard, open, rows, run, says, seenOn, tab, until } from "./chain.mjs";

const TAG = "<img src=x onerror=alert(1)>";
const BIDI = "\u202e";
/** What a program sends to put a text on the clipboard, and to name the window. */
const OSC52 = `\x1b]52;c;${Buffer.from("stolen").toString("base64")}\x07`;
const TITLE = `\x1b]0;${TAG}${BIDI}\x07`;

let page;

const copied = () => page.evaluate(() => window.streamTestCopied);
const images = () => page.evaluate(() => [...document.querySelectorAll("#app img, #app script")].length);

/** Publishes on NATS, as a platform does. */
function publish(subject, message) {
  const text = JSON.stringify(message);
  return new Promise((done, failed) => {
    const socket = net.connect(4222, chain.ip, () => {
      socket.write(`CONNECT {"verbose":false}\r\nPUB ${subject} ${Buffer.byteLength(text)}\r\n${text}\r\nPING\r\n`);
    });
    socket.on("data", (data) => { if (data.includes("PONG")) { socket.destroy(); done(); } });
    socket.on("error", failed);
  });
}

await run({
  async "titles of targets"() {
    page = await tab({ permissions: ["clipboard-read", "clipboard-write"] });
    await page.evaluate(() => navigator.clipboard.writeText("mine"));
    await page.evaluate(() => { window.streamTestCopied.length = 0; });
    await page.getByText(TAG).first().waitFor();
    await page.getByText("<script>alert(2)</script>").first().waitFor();
    assert.equal(await images(), 0);
  },

  async "lines of a log"() {
    await open(page, "evil");
    await page.locator(".log-view").waitFor();
    await until("the line", async () => {
      appendFileSync(path.join(chain.dir, "evil.log"), `${TAG} ${BIDI}gnp.exe \x1b[31mred\x1b[0m \x1b[2J${OSC52}${TITLE} end\n`);
      return (await page.locator(".log-rows").innerText()).includes(TAG);
    });
    const shown = await page.locator(".log-rows").innerText();
    assert.ok(!shown.includes(BIDI) && !shown.includes("\x1b"), JSON.stringify(shown));
    assert.ok(shown.includes("red") && shown.includes("end"), shown);
    console.log(`a log line: ${JSON.stringify(shown.split("\n").find((line) => line.includes(TAG)))}`);
    assert.deepEqual([await images(), await copied()], [0, []]);
    assert.ok(!(await page.title()).includes(TAG));
  },

  async "what a program writes to a terminal"() {
    writeFileSync(path.join(chain.dir, "evil.txt"), `before ${TAG} ${BIDI}gnp.exe ${OSC52}${TITLE} after\r\n`);
    await open(page, "evil-shell");
    await says(page, "after");
    assert.ok((await rows(page)).includes(TAG));
    await page.locator(".own-title").waitFor();
    const title = await page.locator(".toolbar-title").innerText();
    assert.ok(title.includes(TAG) && !title.includes(BIDI), JSON.stringify(title));
    console.log(`a terminal's title: ${JSON.stringify(title)}`);
    assert.deepEqual([await images(), await copied()], [0, []]);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "mine");
  },

  async "the reason of an end"() {
    const { session } = seenOn(page).sessions.at(-1);
    await publish("stream.v1.host.h1.stop", { session, reason: `${TAG}${BIDI}reason` });
    const said = await endCard(page);
    console.log(`an end: ${JSON.stringify(said)}`);
    assert.ok(said.includes("The session was ended."), said);
    assert.ok(said.includes(TAG), said);
    assert.ok(!said.includes(BIDI), said);
    assert.equal(await images(), 0);
    await page.goto(`${chain.origin}/sessions`);
    await page.getByRole("button", { name: "All", exact: true }).click();
    await page.getByText("evil-shell").first().waitFor();
    assert.equal(await images(), 0);
    assert.ok(!(await page.locator("#app").innerText()).includes(BIDI));
  },
});
