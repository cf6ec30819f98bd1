// A file that gets 10,000 lines a second: none is lost on the way to the page's own download, and the page stays usable.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { traceTasks } from "../tasks.mjs";
import { act, chain, open, pause, run, tab, until } from "./chain.mjs";

const RATE = 10_000;
const SECONDS = chain.soak ? 30 : 3;
const LINES = RATE * SECONDS;
const FILE = path.join(chain.dir, "app.log");
const line = (n) => `line ${n} 2026-01-01T00:00:00.000Z ${n % 50 === 0 ? "WARN" : "INFO"} worker-${n % 8} handled request in ${n % 997} ms\n`;

const LONGEST = 200;
const ms = ({ clock, processor }) => `${Math.round(clock)} ms (${Math.round(processor)} ms of processor time)`;
const words = (task) => [ms(task), ...task.parts.map((part) => `${part.name} ${ms(part)}`)].join(", ");

let page;

await run({
  async [`${RATE} lines a second for ${SECONDS} s`]() {
    page = await tab();
    await open(page, "log");
    await page.locator(".log-view").waitFor();
    await until("the log is open", async () => {
      appendFileSync(FILE, "is it open?\n");
      await pause(100);
      return (await page.locator(".log-rows").innerText()).includes("is it open?");
    });
    await act(page, "Clear");
    const traced = await traceTasks(page);
    const began = Date.now();
    let written = 0;
    let latest = 0;
    while (written < LINES) {
      await pause(10);
      const due = Math.min(LINES, Math.floor((Date.now() - began) / 1000 * RATE));
      let text = "";
      while (written < due) text += line(++written);
      latest = Math.max(latest, text.length);
      if (text) appendFileSync(FILE, text);
    }
    const writing = (Date.now() - began) / 1000;
    const last = `line ${LINES} `;
    await until("the last line is shown", async () => (await page.locator(".log-rows").innerText()).includes(last), 60_000);
    const shown = (Date.now() - began) / 1000;
    const tasks = await traced();

    const waiting = page.waitForEvent("download");
    await act(page, "Download the text");
    const lines = readFileSync(await (await waiting).path(), "utf8").split("\n").filter((text) => text.startsWith("line "));
    const received = new Set(lines);
    let lost = 0;
    for (let n = 1; n <= LINES; n += 1) if (!received.has(line(n).trimEnd())) lost += 1;
    console.log(`${LINES} lines sent in ${writing.toFixed(1)} s, ${lines.length} received, ${lost} lost; the last was shown ${(shown - writing).toFixed(2)} s later`);
    const long = (measure) => tasks.filter((task) => task[measure] > 50).length;
    console.log(`${tasks.length} tasks of the page, ${long("clock")} over 50 ms on the clock, ${long("processor")} over 50 ms of processor time`);
    const longest = (measure) => tasks.reduce((one, other) => (other[measure] > one[measure] ? other : one));
    console.log(`the longest on the clock: ${words(longest("clock"))}`);
    console.log(`the longest of processor time: ${words(longest("processor"))}`);
    assert.equal(lost, 0);
    assert.equal(lines.length, LINES);
    lines.forEach((text, index) => { if (`${text}\n` !== line(index + 1)) assert.fail(`line ${index + 1} is ${text}`); });
    // On the clock it is also what else the machine does.
    if (chain.soak) assert.ok(longest("processor").processor <= LONGEST, "a task is too long");
  },

  async "a log follows until a person scrolls"() {
    const follow = page.locator(".log-status button");
    assert.equal(await follow.getAttribute("aria-pressed"), "true");
    await page.locator(".log-scroll").hover();
    await page.mouse.wheel(0, -2000);
    await until("it does not follow", async () => (await follow.getAttribute("aria-pressed")) === "false");
    appendFileSync(FILE, "the newest\n");
    await until("it counts", async () => /Follow \(\d/.test(await follow.innerText()));
    await follow.click();
    await until("the newest line", async () => (await page.locator(".log-rows").innerText()).includes("the newest"));
  },
});
