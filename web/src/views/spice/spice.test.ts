import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentClipboard, AgentReader, CLIPBOARD, CLIPBOARD_GRAB, CLIPBOARD_REQUEST, UTF8_TEXT, words } from "./agent.js";
import { cursorPixels } from "./cursor.js";
import { scancode } from "./scancodes.js";

test("scan codes", () => {
  assert.equal(scancode("Escape", true), 0x01);
  assert.equal(scancode("KeyA", true), 0x1e);
  assert.equal(scancode("KeyM", true), 0x32);
  assert.equal(scancode("Space", false), 0xb9);
  assert.equal(scancode("F1", true), 0x3b);
  assert.equal(scancode("NumpadDecimal", true), 0x53);
  assert.equal(scancode("IntlBackslash", true), 0x56);
  assert.equal(scancode("F12", true), 0x58);
  assert.equal(scancode("Delete", true), 0x53e0);
  assert.equal(scancode("Delete", false), 0xd3e0);
  assert.equal(scancode("MetaLeft", true), 0x5be0);
  assert.equal(scancode("", true), undefined);
  assert.equal(scancode("constructor", true), undefined);
});

test("messages of the agent are put together, however they are cut", () => {
  const message = (type: number, ...data: number[]): number[] => [...words(1, type, 0, 0, data.length), ...data];
  const bytes = Uint8Array.from([...message(5, 1, 2, 3), ...message(6), ...message(7, 9)]);
  for (let size = 1; size <= bytes.length; size += 1) {
    const seen: unknown[] = [];
    const reader = new AgentReader((type, data) => seen.push([type, ...data]));
    for (let at = 0; at < bytes.length; at += size) reader.read(bytes.subarray(at, at + size));
    assert.deepEqual(seen, [[5, 1, 2, 3], [6], [7, 9]], `pieces of ${size}`);
  }
});

test("a message that is too large is skipped, not kept", () => {
  const seen: number[] = [];
  const reader = new AgentReader((type) => seen.push(type));
  reader.read(words(1, 4, 0, 0, 5 << 20));
  for (let at = 0; at < 5; at += 1) reader.read(new Uint8Array(1 << 20));
  reader.read(words(1, 9, 0, 0, 0));
  assert.deepEqual(seen, [9]);
});

test("the clipboard asks for text, gives what was pasted, and nothing else", () => {
  const said: [number, number[]][] = [];
  const got: string[] = [];
  const clipboard = new AgentClipboard((type, data) => said.push([type, [...data]]), (text) => got.push(text));
  clipboard.message(CLIPBOARD_REQUEST, words(UTF8_TEXT));
  assert.deepEqual(said, []);
  clipboard.message(CLIPBOARD_GRAB, words(2, UTF8_TEXT));
  assert.deepEqual(said.pop(), [CLIPBOARD_REQUEST, [...words(UTF8_TEXT)]]);
  clipboard.message(CLIPBOARD, Uint8Array.from([...words(UTF8_TEXT), 0xc3, 0xa4, 0]));
  assert.deepEqual(got, ["ä"]);
  clipboard.capabilities(1 << 6);
  clipboard.offer("x");
  assert.deepEqual(said.pop(), [CLIPBOARD_GRAB, [...words(0, UTF8_TEXT)]]);
  // What is marked in the guest is not the clipboard.
  clipboard.message(CLIPBOARD_GRAB, words(1, UTF8_TEXT));
  assert.deepEqual(said, []);
  clipboard.message(CLIPBOARD_REQUEST, words(0, UTF8_TEXT));
  assert.deepEqual(said.pop(), [CLIPBOARD, [...words(0, UTF8_TEXT), 0x78]]);
  clipboard.message(CLIPBOARD_GRAB, words(0));
  clipboard.message(CLIPBOARD_REQUEST, words(0, UTF8_TEXT));
  assert.deepEqual(said, []);
});

test("cursors", () => {
  const shape = { width: 2, height: 1, hot_spot_x: 0, hot_spot_y: 0 };
  // Blue, green, red, opacity; the second is half transparent, with its colours multiplied.
  assert.deepEqual([...cursorPixels({ type: 0, ...shape }, Uint8Array.from([1, 2, 3, 255, 0, 64, 128, 128]))!], [3, 2, 1, 255, 255, 128, 0, 128]);
  // Black, then nothing.
  assert.deepEqual([...cursorPixels({ type: 1, ...shape }, Uint8Array.from([0b01000000, 0]))!], [0, 0, 0, 255, 0, 0, 0, 0]);
  assert.equal(cursorPixels({ type: 0, ...shape }, new Uint8Array(7)), undefined);
  assert.equal(cursorPixels({ type: 5, ...shape }, new Uint8Array(64)), undefined);
});
