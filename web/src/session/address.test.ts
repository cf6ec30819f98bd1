import assert from "node:assert/strict";
import { test } from "node:test";
import { openPath, parseOpen, type Wanted } from "./address";

function parse(path: string): Wanted[] | undefined {
  const url = new URL(path, "http://relay/");
  return parseOpen(url.pathname.slice(1), url.searchParams);
}

test("an address says what to open, and how", () => {
  assert.deepEqual(parse("/open/web1/shell"), [{ host: "web1", target: "shell", params: {} }]);
  assert.deepEqual(parse("/open/web1/log?param=unit%3Dssh.service&param=a=b=c&mode=ro&view=log"),
    [{ host: "web1", target: "log", params: { unit: "ssh.service", a: "b=c" }, mode: "ro", view: "log" }]);
  assert.deepEqual(parse("/open/a/b|c/d?param2=x=1&mode2=ro")?.[1], { host: "c", target: "d", params: { x: "1" }, mode: "ro" });
  assert.equal(parse("/open/a/b%7Cc/d")?.length, 2);
});

test("what is not known is left out, and what is incomplete is no address", () => {
  assert.deepEqual(parse("/open/a/b?mode=root&view=x&param=novalue&param==1"), [{ host: "a", target: "b", params: {} }]);
  for (const path of ["/open/a", "/open/", "/open/a/b/c", "/open/a/b|c", "/open/a/b|c/d|e/f", "/open/%ff/x", "/sessions"]) {
    assert.equal(parse(path), undefined, path);
  }
});

test("every target has an address that leads back to it", () => {
  const wanted: Wanted[] = [
    { host: "web1", target: "a b/ü?#|&=", params: { unit: "a&b=c|d" }, mode: "rw", view: "vnc" },
    { host: "db-1", target: "%25", params: {}, mode: "ro" },
  ];
  assert.deepEqual(parse(`/${openPath(...wanted)}`), wanted);
});
