// Every end that the chain can be brought to has its sentence from ends.ts, and a new session works.
import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { api, ask, chain, command, endCard, open, prompt, run, seenOn, sockets, tab, until } from "./chain.mjs";
import { SENTENCES, ended, given, seen } from "./sentences.mjs";

async function again(page) {
  const sessions = seenOn(page).sessions.length;
  await page.getByRole("button", { name: /^(Open a new session|Try again)$/ }).click();
  await page.locator(".end-card").waitFor({ state: "detached" });
  await prompt(page);
  await command(page, "echo new-$((6*7))");
  assert.equal(seenOn(page).sessions.length, sessions + 1);
}

const online = () => until("the host is online", async () => (await ask("api", { method: "GET", path: "/api/v1/hosts/h1" })).body.online);

let page;

await run({
  async "targets that fail (4502), and programs that end"() {
    page = await tab();
    await open(page, "gone");
    await ended(page, 4502);
    await open(page, "done");
    assert.match(await endCard(page), /The program ended with status 3\./);
    await open(page, "killed");
    assert.match(await endCard(page), /The program ended with status 143\. A signal \(number 15\) ended it\./);
  },

  async "a target that is opened as a screen, and is none"() {
    for (const view of ["vnc", "spice"]) {
      await open(page, "talks", `?view=${view}`);
      await ended(page, "wrong_view");
    }
  },

  async "a session that an administrator ends (4410)"() {
    await open(page, "shell");
    await prompt(page);
    const { sessions } = await api("GET", "sessions?state=open");
    await api("DELETE", `sessions/${sessions.find(({ target, state }) => target === "shell" && state === "open").session}`);
    await ended(page, 4410);
    await again(page);
  },

  async "a target that does not answer (4504)"() {
    await ask("full-port");
    await open(page, "slow");
    await ended(page, 4504);
  },

  async "a session whose time is over (4410)"() {
    const { url } = await api("POST", "sessions", { host: "h1", target: "shell", max_seconds: 2 });
    await page.goto(given(url));
    await ended(page, 4410);
  },

  async "too many clients that wait (4429)"() {
    const token = (n) => `${sockets}/v1/stream/${String(n).padStart(42, "A")}A`;
    // The page is there first, because clients wait for 5 s only.
    await page.goto(`${chain.origin}/view`);
    const waiting = Array.from({ length: 16 }, (_, n) => new WebSocket(token(n)));
    await Promise.all(waiting.map((one) => new Promise((done) => one.on("open", done))));
    await page.evaluate((address) => { location.href = address; }, given(token(99)));
    await ended(page, 4429);
    for (const one of waiting) one.terminate();
  },

  async "a target that its owner removes (4403)"() {
    await open(page, "removed");
    await page.locator(".xterm").waitFor();
    await until("it is open", async () => (await api("GET", "sessions?state=open")).sessions.some(({ target, state }) => target === "removed" && state === "open"));
    await ask("targets", { targets: "[target.shell]\nkind = 'exec'\nargv = ['/bin/bash', '--norc', '--noprofile']\npty = true\nenv = { PS1 = '$ ' }\n" });
    await ended(page, 4403);
    await page.getByRole("button", { name: "Open a new session" }).click();
    await until("the refusal", async () => (await endCard(page)).includes(SENTENCES.get("target_not_allowed").what));
    seen.add("target_not_allowed");
  },

  async "addresses that are used, over or no addresses (4409, 4404, 4401)"() {
    const address = await ask("url", { target: "shell" });
    await page.goto(given(address));
    await prompt(page);
    const second = await tab({ signedIn: false });
    await second.goto(given(address));
    await ended(second, 4409);
    await page.keyboard.type("exit\n");
    await endCard(page);
    await second.goto("about:blank");
    await second.goto(given(address));
    await ended(second, 4404);
    await second.goto("about:blank");
    await second.goto(given(`${sockets}/v1/stream/short`));
    await ended(second, 4401);
    await second.close();
  },

  async "a host that is killed (4503), stopped (1001) and offline"() {
    await open(page, "shell");
    await prompt(page);
    await ask("kill-agent");
    await ended(page, 4503);
    await ask("start-agent");
    await online();
    await again(page);
    await ask("stop-agent");
    await ended(page, 1001);
    await page.getByRole("button", { name: "Open a new session" }).click();
    await until("the host is offline", async () => (await endCard(page)).includes(SENTENCES.get("host_offline").what));
    seen.add("host_offline");
    await ask("start-agent");
    await online();
    await again(page);
  },

  async "a relay that is stopped (1012) and started again"() {
    await ask("stop-relay");
    await ended(page, 1012);
    await page.getByRole("button", { name: "Open a new session" }).click();
    await until("the relay does not answer", async () => (await endCard(page)).includes(SENTENCES.get("unreachable").what));
    seen.add("unreachable");
    await ask("start-relay");
    await online();
    // The cookie is still good.
    await again(page);
  },

  async "a relay that is killed (1006)"() {
    await ask("kill-relay");
    await ended(page, 1006);
    await ask("start-relay");
    await online();
    await again(page);
    console.log(`${seen.size} ends: ${[...seen].join(", ")}`);
  },
});
