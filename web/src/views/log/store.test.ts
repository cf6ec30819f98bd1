import assert from "node:assert/strict";
import { test } from "node:test";
import { LineStore } from "./store";

const bytes = (text: string) => new TextEncoder().encode(text);
const all = (store: LineStore) => Array.from({ length: store.size }, (_, at) => store.line(store.first + at, 1e6).text);
const kept = (store: LineStore) => Buffer.concat(store.parts()).toString();

test("lines are the same however they were cut", () => {
  const text = "first\n\nżółć €\r\n" + "x".repeat(100_000) + "\nlast without end";
  for (const size of [1, 2, 3, 7, 1000, 70_000, 1e6]) {
    const store = new LineStore();
    const data = bytes(text);
    for (let at = 0; at < data.length; at += size) store.append(data.subarray(at, at + size));
    assert.deepEqual(all(store), ["first", "", "żółć €", "x".repeat(100_000)], `cut at ${size}`);
    assert.equal(kept(store), text);
    assert.equal(store.bytes, data.length);
    store.flush();
    assert.equal(all(store).at(-1), "last without end");
  }
});

test("many lines in many chunks are found, and none is lost", () => {
  const store = new LineStore();
  let text = "";
  for (let line = 0; line < 50_000; line++) {
    text += `line ${line} of the log\n`;
    if (line % 97 === 0) { store.append(bytes(text)); text = ""; }
  }
  store.append(bytes(text));
  assert.equal(store.size, 50_000);
  for (const line of [0, 1, 2999, 25_000, 49_998, 49_999]) assert.equal(store.line(line, 1e6).text, `line ${line} of the log`);
  let counted = 0;
  for (let at = store.first; at < store.next;) {
    const lines = store.linesFrom(at);
    for (const line of lines) assert.equal(line, `line ${counted++} of the log`);
    at += lines.length;
  }
  assert.equal(counted, 50_000);
});

test("the oldest lines go beyond the limits, and numbers stay", () => {
  const store = new LineStore({ lines: 10_000, bytes: 1e9 });
  for (let line = 0; line < 40_000; line++) store.append(bytes(`number ${line}\n`));
  assert.equal(store.next, 40_000);
  assert.ok(store.size <= 10_000 && store.size > 4_000, String(store.size));
  assert.equal(store.line(store.first, 100).text, `number ${store.first}`);
  assert.throws(() => store.line(store.first - 1, 100), RangeError);
  const small = new LineStore({ lines: 1e6, bytes: 300_000 });
  for (let line = 0; line < 1000; line++) small.append(bytes("y".repeat(999) + "\n"));
  assert.ok(small.bytes <= 300_000, String(small.bytes));
  assert.equal(kept(small).length, small.bytes);
});

test("a line that never ends is cut", () => {
  const store = new LineStore();
  for (let at = 0; at < 5; at++) store.append(bytes("z".repeat(600_000)));
  assert.equal(store.size, 2);
  assert.equal(store.line(0, 1e7).text.length, 1024 * 1024);
  assert.deepEqual(store.line(0, 10), { text: "z".repeat(10), omitted: 1024 * 1024 - 10 });
});

test("marks are lines of the page, and are not in the download", () => {
  const store = new LineStore();
  store.mark("from here");
  store.append(bytes("a\nb"));
  store.mark("and\nhere");
  store.append(bytes("c\n"));
  assert.deepEqual(all(store), ["from here", "a", "b", "and here", "c"]);
  assert.deepEqual([0, 1, 2, 3, 4].map((line) => store.isMark(line)), [true, false, false, true, false]);
  assert.equal(kept(store), "a\nb\nc\n");
  store.clear();
  assert.equal(store.size, 0);
  store.append(bytes("d\n"));
  assert.deepEqual(all(store), ["d"]);
  assert.equal(store.first, 5);
});
