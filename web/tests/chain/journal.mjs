// A systemd journal: its lines in their colours, the search in them, and the filter that the host applies.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { act, chain, open, run, shot, tab, until } from "./chain.mjs";

const JOURNAL = path.join(chain.dir, "j/system.journal");
const PRIORITIES = { error: 3, warn: 4, info: 6, debug: 7 };
mkdirSync(path.dirname(JOURNAL));

/** Writes entries as a central log host does, by systemd-journal-remote. */
function write(...entries) {
  const text = entries.map(({ unit = "web.service", level = "info", message, ago = 0 }, n) => {
    const at = BigInt(Date.now() - ago * 1000) * 1000n + BigInt(n);
    return [
      `__REALTIME_TIMESTAMP=${at}`, `__MONOTONIC_TIMESTAMP=${at % 10_000_000_000n}`, `_BOOT_ID=${"2".repeat(32)}`, `_MACHINE_ID=${"a".repeat(32)}`,
      "_HOSTNAME=host", "_TRANSPORT=stdout", "_PID=42", "SYSLOG_IDENTIFIER=web", `_SYSTEMD_UNIT=${unit}`, `PRIORITY=${PRIORITIES[level]}`, `MESSAGE=${message}`,
    ].map((field) => `${field}\n`).join("");
  }).join("\n");
  execFileSync("/lib/systemd/systemd-journal-remote", [`--output=${JOURNAL}`, "-"], { input: `${text}\n`, stdio: ["pipe", "ignore", "ignore"] });
}

let page;
/** What came from the host, as text. */
let received = "";

const row = (text) => page.locator(".log-rows > div:not([data-mark])").filter({ hasText: text });
const shown = (text) => row(text).first().waitFor();
const search = () => page.getByRole("search", { name: "Search in the log" });
const filter = () => page.getByRole("group", { name: "Filter on the host" });

async function levels(words) {
  for (const [text, level] of words) assert.equal(await row(text).first().getAttribute("data-level"), level, text);
  const colours = await Promise.all(words.map(([text]) => row(text).first().evaluate((element) => {
    const { color, borderLeftColor } = getComputedStyle(element);
    return `${color} ${borderLeftColor}`;
  })));
  assert.equal(new Set(colours).size, words.length, colours.join("; "));
  return colours;
}

await run({
  async "entries of the unit are shown, also those that come later"() {
    write(
      ...Array.from({ length: 20 }, (_, n) => ({ message: `earlier ${n}`, ago: 120 })),
      { unit: "ssh.service", message: "of another unit", ago: 60 },
      { message: "ERROR: the disk is full", level: "error", ago: 60 }, { message: "warning: the disk is nearly full", level: "warn", ago: 60 },
      { message: "[info] a request", ago: 60 }, { message: "level=debug cache", level: "debug", ago: 60 }, { message: "no level", ago: 60 },
    );
    page = await tab();
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => { received += payload.toString(); }));
    await open(page, "journal");
    await shown("no level");
    write({ unit: "ssh.service", message: "of another unit" }, { message: "it came later" });
    await shown("it came later");
    assert.ok(!received.includes("of another unit"));
    // The target begins with the last ten lines.
    assert.equal(await row("earlier").count(), 5);
  },

  async "levels have colours"() {
    const colours = await levels([["ERROR: the disk", "error"], ["warning: the disk", "warn"], ["[info] a request", "info"], ["level=debug", "debug"], ["no level", null]]);
    console.log(`colours: ${colours.join("; ")}`);
    await shot(page, "session-journal");
  },

  async "the search finds and marks"() {
    await act(page, "Search");
    await page.keyboard.type("the disk");
    await page.keyboard.press("Enter");
    await search().getByText("1 of 2 lines").waitFor();
    const marked = () => page.evaluate(() => ["log-current", "log-match"].map((name) => [...CSS.highlights.get(name) ?? []].map(String).join()));
    await until("both are marked", async () => String(await marked()) === "the disk,the disk");
    await page.keyboard.press("Enter");
    await search().getByText("2 of 2 lines").waitFor();
    await page.keyboard.press("Escape");
  },

  async "the filter is the host's"() {
    await act(page, "Filter on the host");
    await page.keyboard.type("ERROR|sp.cial");
    await page.keyboard.press("Enter");
    await page.getByText("From here on: only lines that match ERROR|sp.cial").waitFor();
    // The host has it once what matches comes alone.
    await until("the host filters", async () => {
      write({ message: "plain" }, { message: "special" });
      await until("the line", async () => received.split("\n").at(-2)?.includes("special"));
      return !received.split("\n").at(-3).includes("plain");
    });
    received = "";
    write({ message: "hidden" }, { message: "ERROR: shown", level: "error" });
    await shown("ERROR: shown");
    assert.ok(!received.includes("hidden"), received);
    await filter().getByRole("button", { name: "Only lines that do not match" }).click();
    await until("the host has turned it round", async () => {
      write({ message: "special" }, { message: "plain again" });
      await until("the line", async () => received.split("\n").at(-2)?.includes("plain again"));
      return !received.split("\n").at(-3).includes("special");
    });
  },

  async "a filter that the host refuses is said, and the log goes on"() {
    const field = filter().getByRole("textbox");
    await field.fill("(");
    await field.press("Enter");
    await until("it is refused", async () => (await field.getAttribute("aria-invalid")) === "true");
    console.log(`refused: ${await filter().getByRole("status").innerText()}`);
    // Longer than a control message may be.
    await field.fill("x".repeat(5000));
    await field.press("Enter");
    await until("it is too long", async () => /at most/.test(await filter().getByRole("status").innerText()));
    console.log(`too long: ${await filter().getByRole("status").innerText()}`);
    await filter().getByRole("button", { name: "Remove the filter" }).click();
    await until("no filter", async () => {
      write({ message: "special, at last" });
      return (await row("special, at last").count()) > 0;
    });
    assert.equal(await page.locator(".end-card").count(), 0);
    await page.keyboard.press("Escape");
  },

  async "earlier entries"() {
    await page.getByRole("button", { name: "Show earlier lines" }).click();
    await page.getByRole("menuitemcheckbox", { name: "Last 15 minutes" }).click();
    await until("all that was written", async () => (received.match(/earlier \d/g) ?? []).length >= 20);
  },

  async "with output = 'json' the level is the entry's priority"() {
    await open(page, "priorities");
    await until("all four", async () => {
      write(...Object.keys(PRIORITIES).map((level) => ({ level, message: `of priority ${level}` })));
      return (await row("of priority debug").count()) > 0;
    });
    await levels(Object.keys(PRIORITIES).map((level) => [`of priority ${level}`, level]));
  },
});
