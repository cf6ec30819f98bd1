// Every kind of view in Firefox, with its policy in force: sign in, hosts, a shell, a log, two screens, sign out.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { api, ask, chain, command, prompt, rows, run, says, shot, until } from "./chain.mjs";
import { firefoxTab } from "./gecko.mjs";
import { showsGuest } from "./guest.mjs";

const LINES = 5000;
const LOG = path.join(chain.dir, "app.log");

let page;

async function open(target) {
  await page.goto(`${chain.origin}/open/h1/${target}`);
  await page.click("button", "Open");
}

async function signOut() {
  await page.click("button.account");
  await page.click("[role=menuitem]", "Sign out");
  await page.find("#key");
}

async function signInByKey() {
  await page.click("#key");
  await page.keyboard.type(chain.key);
  await page.keyboard.press("Enter");
  await page.find("h1", "Hosts");
}

const screen = (target) => async () => {
  await open(target);
  await page.find(".pane-view canvas");
  await showsGuest(page, `Firefox, ${target}`, {
    click: () => page.click(".pane-view canvas"),
    press: (keys, delay) => page.press(keys, delay),
  });
  await shot(page, `firefox-${target}`);
};

await run({
  async "a link signs in once"() {
    page = await firefoxTab();
    const { url } = await api("POST", "sign-in-links", { user: "alice" });
    await page.goto(url);
    await page.find("button", "Sign in as alice");
    assert.equal(await page.url(), `${chain.origin}/sign-in`);
    await shot(page, "firefox-link");
    await page.click("button", "Sign in as alice");
    await page.find("h1", "Hosts");
    assert.deepEqual((await page.cookies()).map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), [[true, "Strict"]]);
    await signOut();
    await page.goto("about:blank");
    await page.goto(url);
    await until("the link is used up", async () => (await page.text("main")).includes("This link was already used."));
    await page.click("button", "Use an API key instead");
  },

  async "a key signs in, and the host has its targets"() {
    await shot(page, "firefox-sign-in");
    await signInByKey();
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.ok(!kept.includes(chain.key), kept);
    for (const title of ["A shell", "A live log", "Screen of the guest", "Screen and sound"]) await page.find("a.target-link", `Open ${title}`);
    await shot(page, "firefox-hosts");
  },

  async "a shell, vim in it, and its exit status"() {
    await page.click("a.target-link", "Open A shell");
    await prompt(page);
    await command(page, "echo typed-$((6*7))");
    await says(page, "typed-42");
    // By the browser's keys, and by the toolbar: Firefox lets a page read what it copied itself without a question.
    await page.doubleClick(".xterm-rows span", "typed-42");
    await page.keyboard.press("Control+Shift+C");
    await page.keyboard.type("echo pasted:");
    await page.keyboard.press("Control+Shift+V");
    await says(page, "echo pasted:typed-42");
    await page.click("button", "Paste");
    await says(page, "echo pasted:typed-42typed-42");
    await page.keyboard.press("Enter");
    await says(page, /^pasted:typed-42typed-42$/m);
    const file = path.join(chain.dir, "written.txt");
    await command(page, `vim -u NONE -N -i NONE '${file}'`);
    await says(page, /^~$/m);
    const tildes = async () => (await rows(page)).split("\n").filter((row) => row.startsWith("~")).length;
    const many = await tildes();
    await page.resize(1000, 600);
    await until("vim is smaller", async () => { const now = await tildes(); return now > 0 && now < many; });
    await page.resize(1280, 900);
    await until("vim is as before", async () => await tildes() === many);
    await page.keyboard.type("iwritten in vim: äö€ 漢字");
    await says(page, "written in vim");
    await shot(page, "firefox-terminal");
    await page.keyboard.press("Escape");
    await command(page, ":wq");
    await prompt(page);
    assert.equal(readFileSync(file, "utf8"), "written in vim: äö€ 漢字\n");
    await command(page, "exit 3");
    await until("the exit status", async () => /The program ended with status 3\./.test(await page.text(".end-card")));
    await shot(page, "firefox-end");
  },

  async [`a log of ${LINES} lines loses none, and follows until a person scrolls`]() {
    await open("log");
    const shows = async (text) => (await page.text(".log-rows")).includes(text);
    await until("the log is open", () => { appendFileSync(LOG, "is it open?\n"); return shows("is it open?"); });
    await page.click("button", "Clear");
    const line = (n) => `line ${n} 2026-01-01T00:00:00.000Z ${n % 50 === 0 ? "WARN" : "INFO"} handled request in ${n % 997} ms\n`;
    for (let from = 0; from < LINES; from += 500) appendFileSync(LOG, Array.from({ length: 500 }, (_, at) => line(from + at + 1)).join(""));
    await until("the last line", () => shows(`line ${LINES} `));
    const file = await page.downloaded(() => page.click("button", "Download the text"));
    const text = readFileSync(file, "utf8");
    assert.equal(text.slice(text.indexOf("line 1 ")), Array.from({ length: LINES }, (_, at) => line(at + 1)).join(""));
    console.log(`${LINES} lines, all in the page's own download`);
    const follows = async () => (await page.find(".log-status button")).getAttribute("aria-pressed");
    assert.equal(await follows(), "true");
    await page.wheel(".log-scroll", -2000);
    await until("it does not follow", async () => await follows() === "false");
    await shot(page, "firefox-log");
  },

  "VNC: keys arrive, and no pixel differs": screen("vnc"),
  "SPICE: keys arrive, and no pixel differs": screen("spice"),

  async "an address of any platform, the list of sessions, and signing out"() {
    await page.goto(`${chain.origin}/view#${await ask("url", { target: "shell" })}`);
    await page.find("h2", "How is this shown?");
    assert.equal(await page.url(), `${chain.origin}/view`);
    await shot(page, "firefox-view");
    await page.click(".choices button");
    await prompt(page);
    await page.goto(`${chain.origin}/sessions`);
    await page.find("h1", "Sessions");
    await shot(page, "firefox-sessions");
    await signOut();
    await page.goto(`${chain.origin}/open/h1/shell`);
    await page.find("#key");
  },
});
