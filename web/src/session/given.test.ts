import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, parseFragment } from "./given";

test("a fragment is a bare address, or one with words of ours", () => {
  assert.deepEqual(parseFragment("wss://r/v1/stream/T"), { url: "wss://r/v1/stream/T", view: undefined, title: "", readOnly: false });
  assert.deepEqual(parseFragment("wss://r/s?a=1&b=2&view=vnc&mode=ro"), { url: "wss://r/s?a=1&b=2", view: "vnc", title: "", readOnly: true });
  assert.deepEqual(parseFragment("url=wss%3A%2F%2Fr%2Fs%3Fa%3D1%26b&view=log&title=My%20log"), { url: "wss://r/s?a=1&b", view: "log", title: "My log", readOnly: false });
  assert.equal(parseFragment("wss%3A%2F%2Fr%2Fs")?.url, "wss://r/s");
  assert.equal(parseFragment("url=wss://r/s&view=shell")?.view, undefined);
  assert.equal(parseFragment(""), undefined);
  assert.equal(parseFragment("%ff"), undefined);
});

test("only this relay and listed origins are connected to, exactly", () => {
  const page = { origin: "https://relay.example", allowed: new Set(["wss://other.example", "wss://port.example:8443"]) };
  const allowed = (url: string) => judge(url, page).allowed;
  for (const url of ["wss://relay.example/v1/stream/T", "wss://relay.example:443/x", "WSS://Other.Example/x", "wss://port.example:8443/"]) {
    assert.ok(allowed(url), url);
  }
  for (const url of [
    "wss://relay.example.evil.example/", "wss://evil-relay.example/", "wss://sub.relay.example/", "wss://relay.example:8443/",
    "wss://other.example:8443/", "ws://other.example/", "ws://relay.example/", "wss://port.example/", "https://relay.example/",
    "javascript:alert(1)", "wss://relay.example@evil.example/", "wss://user@relay.example/", "wss://relay.example./", "//relay.example",
    "", "relay.example", "wss://xn--rlay-bpa.example/", "wss://rélay.example/", "wss://relay.example/x#y", "null", "blob:wss://relay.example/",
  ]) {
    assert.ok(!allowed(url), url);
  }
});

test("a refused address is shown without its token", () => {
  const verdict = judge(`wss://evil.example/v1/stream/${"x".repeat(43)}?key=1`, { origin: "https://r", allowed: new Set() });
  assert.ok(!verdict.allowed);
  assert.equal(verdict.shown, "wss://evil.example/v1/stream/xxxx…?…");
});
