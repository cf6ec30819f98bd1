// Signing in by a link and by a key, and a shell with the keyboard alone.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { accessible, api, chain, command, endCard, prompt, rows, run, says, seenOn, tab, until } from "./chain.mjs";

let page;

/** The size that the host's terminal has. */
async function size() {
  await command(page, "clear; stty size");
  const [, lines, columns] = /^(\d+) (\d+)$/m.exec(await says(page, /^\d+ \d+$/m));
  return { lines: +lines, columns: +columns };
}

/** A button can be pressed some time after it comes up. */
const focused = (name) => page.waitForFunction((name) => document.activeElement.textContent.trim() === name, name);

async function signOut() {
  await page.getByRole("button", { name: "Account and colours" }).click();
  await page.getByRole("menuitem", { name: "Sign out", exact: true }).click();
  await page.getByLabel("API key").waitFor();
}

await run({
  async "a link signs in once"() {
    page = await tab({ signedIn: false });
    const { url } = await api("POST", "sign-in-links", { user: "alice" });
    assert.ok(url.startsWith(`${chain.origin}/sign-in#`), url);
    await page.goto(url);
    const button = page.getByRole("button", { name: "Sign in as alice" });
    await button.waitFor();
    // The page's script takes the answer that the page asked for before it.
    assert.deepEqual(seenOn(page).calls.filter((call) => call.endsWith("/me")), [`GET ${chain.origin}/api/v1/me`]);
    assert.ok(!page.url().includes("#"), page.url());
    await focused("Sign in as alice");
    await accessible(page, "a link's account");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Hosts" }).waitFor();
    const cookies = await page.context().cookies();
    assert.deepEqual(cookies.map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), [[true, "Strict"]]);
    await signOut();
    await page.goto(url);
    await page.reload();
    await page.goto("about:blank");
    await page.goto(url);
    await page.getByText("This link was already used.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Sign in as alice" }).count(), 0);
    await page.getByRole("button", { name: "Use an API key instead" }).click();
  },

  async "a wrong key is refused in a sentence"() {
    await page.goto(chain.origin);
    await page.getByLabel("API key").fill("sk-wrong");
    await page.keyboard.press("Enter");
    const said = await page.getByRole("alert").innerText();
    assert.match(said, /\.$|\)$/m);
    console.log(`a wrong key: ${said.replace(/\s+/g, " ")}`);
  },

  async "by keyboard alone: sign in, find a shell, use it, and go back"() {
    await page.goto("about:blank");
    await page.goto(chain.origin);
    await page.getByLabel("API key").waitFor();
    await page.keyboard.type(chain.key);
    await page.keyboard.press("Enter");
    await page.getByText("A shell").first().waitFor();
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.ok(!kept.includes(chain.key), kept);
    await page.keyboard.press("/");
    await page.keyboard.type("a shell");
    await page.getByText("1 found").waitFor();
    for (let steps = 0; !(await page.evaluate(() => document.activeElement.textContent)).includes("A shell"); steps += 1) {
      assert.ok(steps < 5, "the arrows do not lead to the shell");
      await page.keyboard.press("ArrowDown");
    }
    await page.keyboard.press("Enter");
    await prompt(page);
    await command(page, "echo typed-$((6*7))");
    await says(page, "typed-42");
  },

  async "the host's terminal has the size of the window"() {
    const before = await size();
    await page.setViewportSize({ width: 900, height: 560 });
    // The new size takes a moment to the host.
    let after;
    await until("the size on the host", async () => {
      after = await size();
      return after.lines !== before.lines && after.columns !== before.columns;
    });
    console.log(`stty: ${before.lines}x${before.columns}, after the window was made smaller ${after.lines}x${after.columns}`);
    assert.ok(after.lines < before.lines && after.columns < before.columns);
  },

  async "vim opens, is resized, writes and quits"() {
    const file = path.join(chain.dir, "written.txt");
    await command(page, `vim -u NONE -N -i NONE '${file}'`);
    const tildes = async () => (await rows(page)).split("\n").filter((row) => row.startsWith("~")).length;
    await says(page, /^~$/m);
    await says(page, "written.txt");
    const few = await tildes();
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.waitForFunction((few) => [...document.querySelectorAll(".xterm-rows > div")].filter((row) => row.textContent.startsWith("~")).length > few, few);
    await page.keyboard.type("iwritten in vim: äö€ 漢字");
    await says(page, "written in vim");
    await page.keyboard.press("Escape");
    await command(page, ":wq");
    await prompt(page);
    assert.equal(readFileSync(file, "utf8"), "written in vim: äö€ 漢字\n");
  },

  async "htop opens and quits"() {
    await command(page, "htop");
    await says(page, /Load average/);
    await says(page, /F10\s*Quit/);
    await page.keyboard.press("q");
    await command(page, "echo after-$((40+2))");
    await says(page, "after-42");
  },

  async "the end of the program has its status, and a key opens it again"() {
    await command(page, "exit 3");
    const said = await endCard(page);
    assert.match(said, /The program ended with status 3\./);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Open a new session");
    await page.keyboard.press("Enter");
    await page.locator(".end-card").waitFor({ state: "detached" });
    await prompt(page);
    const [first, second] = seenOn(page).sessions;
    assert.notEqual(first.url, second.url);
    await page.keyboard.press("Control+Shift+F6");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Back to the hosts");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Hosts" }).waitFor();
    assert.ok(existsSync(chain.dir));
    await signOut();
    await page.goto(`${chain.origin}/open/h1/shell`);
    await page.getByLabel("API key").waitFor();
  },

  async "by keyboard alone: a link asks, and opens"() {
    await page.keyboard.type(chain.key);
    await page.keyboard.press("Enter");
    await focused("Open");
    await accessible(page, "a link's question");
    await page.keyboard.press("Enter");
    await prompt(page);
  },
});
