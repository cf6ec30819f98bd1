// A view of any platform's address, and the frame for pages of other origins.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { accessible, ask, chain, command, pause, prompt, run, says, seenOn, shot, sockets, tab } from "./chain.mjs";

/** A page with a session in it, served at a port; tests/page.rs allows 8085 only. */
async function panel(port, view) {
  const server = createServer((request, response) => {
    const script = request.url === "/panel.js";
    response.writeHead(200, {
      "Content-Type": script ? "text/javascript" : "text/html",
      // Nothing unsafe, and no more than the relay's script and frame.
      "Content-Security-Policy": `default-src 'none'; script-src 'self' ${chain.origin}; frame-src ${chain.origin}; style-src 'self'`,
    });
    response.end(script
      ? `window.heard = [];
         const element = document.querySelector("stream-console");
         for (const name of ["open", "end"]) element.addEventListener(name, ({ detail }) => heard.push([name, detail.code, detail.sentence]));`
      : `<!doctype html><html lang="en"><title>Our panel</title><main><h1>Our panel</h1>
         <stream-console relay="${chain.origin}" view="${view}" title="Shell"></stream-console></main>
         <script src="${chain.origin}/stream-console.js"></script><script src="/panel.js"></script></html>`);
  });
  await new Promise((done) => server.listen(port, chain.ip, done));
  return { at: `http://${chain.ip}:${port}`, stop: () => { server.closeAllConnections(); server.close(); } };
}

const show = (page, address) => page.evaluate((address) => document.querySelector("stream-console").open(address), address);

await run({
  async "an address is opened, leaves the address bar, and needs no cookie and no call"() {
    const page = await tab({ signedIn: false });
    const address = await ask("url", { target: "shell" });
    await page.goto(`${chain.origin}/view#${address}`);
    await page.getByText("How is this shown?").waitFor();
    assert.equal(page.url(), `${chain.origin}/view`);
    assert.equal(await page.evaluate(() => history.length <= 2 && location.hash), "");
    await page.getByRole("button", { name: /^Terminal/ }).click();
    await prompt(page);
    await command(page, "echo view-$((6*7))");
    await says(page, "view-42");
    assert.deepEqual(seenOn(page).calls, []);
    assert.deepEqual((await page.context().cookies()).filter(({ name }) => /stream-loopback|__Host/.test(name)), []);
    await command(page, "exit");
    await page.getByText("This address cannot be used again. Ask for a new one where you got it.").waitFor();
    await page.reload();
    await page.getByText("There is no session in this address").waitFor();
    await page.close();
  },

  async "an address that a person opens by mistake leads to the view, and is not used up"() {
    const page = await tab({ signedIn: false });
    const address = await ask("url", { target: "shell" });
    await page.goto(address.replace(/^ws/, "http"));
    await page.getByText("How is this shown?").waitFor();
    assert.equal(page.url(), `${chain.origin}/view`);
    await page.getByRole("button", { name: /^Terminal/ }).click();
    await prompt(page);
    await page.close();
  },

  async "addresses elsewhere are refused as text"() {
    const page = await tab({ signedIn: false });
    const token = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
    for (const address of [
      `wss://evil.example/v1/stream/${token}`, `${sockets}1/v1/stream/${token}`, `ws://user@${new URL(sockets).host}/v1/stream/${token}`,
      `javascript:alert(1)`, `https://evil.example/`, `wss://<img src=x onerror=alert(1)>\u202e/`,
    ]) {
      await page.goto("about:blank");
      await page.goto(`${chain.origin}/view#url=${encodeURIComponent(address)}&view=terminal&title=${encodeURIComponent("<img src=x onerror=alert(2)>\u202e")}`);
      await page.getByText("This address is not opened").waitFor();
      assert.equal(await page.locator("#app img").count(), 0);
      assert.ok(!(await page.locator("main").innerText()).includes(token));
    }
    assert.deepEqual([seenOn(page).sockets, seenOn(page).calls], [[], []]);
    await page.close();
  },

  async "a page of an allowed origin frames a session, and hears of its start and its end"() {
    const allowed = await panel(8085, "terminal");
    const page = await tab({ signedIn: false });
    await page.goto(allowed.at);
    await show(page, await ask("url", { target: "shell" }));
    await page.waitForFunction(() => window.heard.length === 1);
    const frame = page.frames().find((frame) => frame.url().startsWith(chain.origin));
    await frame.locator(".xterm-rows").getByText("$").first().waitFor();
    await frame.locator(".xterm").click();
    await page.keyboard.type("echo framed-$((6*7))\n");
    await frame.locator(".xterm-rows").getByText("framed-42").first().waitFor();
    await shot(page, "panel");
    await accessible(page, "a panel with a frame");
    await page.keyboard.type("exit\n");
    await page.waitForFunction(() => window.heard.length === 2);
    const [first, last] = await page.evaluate(() => window.heard);
    assert.deepEqual([first[0], last[0], last[1]], ["open", "end", 1000]);
    assert.equal(typeof last[2], "string");
    await show(page, await ask("url", { target: "gone" }));
    await page.waitForFunction(() => window.heard.length >= 3 && window.heard.at(-1)[0] === "end");
    const failed = (await page.evaluate(() => window.heard)).at(-1);
    assert.equal(failed[1], 4502);
    console.log(`a panel hears: end ${failed[1]} ${failed[2]}`);
    assert.deepEqual(seenOn(page).calls, []);
    allowed.stop();
    await page.close();
  },

  async "a page of another origin gets nothing"() {
    const other = await panel(8086, "terminal");
    // What the browser says about the refused frame.
    const page = await tab({ signedIn: false, expected: /frame-ancestors|chrome-error|postMessage/ });
    await page.goto(other.at);
    const refused = page.waitForEvent("console", { predicate: (message) => /frame-ancestors/.test(message.text()) });
    const address = await ask("url", { target: "shell" });
    await show(page, address);
    console.log(`another origin: ${(await refused).text()}`);
    await pause(1000);
    assert.deepEqual([await page.evaluate(() => window.heard), seenOn(page).sockets], [[], []]);
    other.stop();
    // Nobody has used it.
    await page.goto(`${chain.origin}/view#url=${encodeURIComponent(address)}&view=terminal`);
    await prompt(page);
    await page.close();
  },
});
