import assert from "node:assert/strict";
import { test } from "node:test";
import { hides, visible } from "./text";

test("what hides or reorders is written as an escape", () => {
  for (const [text, shown] of [
    ["a\u202eb", "a\\u{202e}b"], ["a\u200b", "a\\u{200b}"], ["a\u2066b", "a\\u{2066}b"], ["a\nb\r\t", "a\\nb\\r\\t"],
    ["\u001b[2J\u009b1m", "\\u{1b}[2J\\u{9b}1m"], ["a\u2028b", "a\\u{2028}b"], ["a\u3164b", "a\\u{3164}b"], ["a\u{e0041}", "a\\u{e0041}"],
    ["a\ufe0f", "a\\u{fe0f}"], ["a\ud800b", "a\\u{d800}b"], ["\ufeff\u00ad", "\\u{feff}\\u{ad}"],
  ] as const) {
    assert.equal(visible(text), shown);
    assert.equal(hides(text), !/^a\nb/.test(text) || /\r/.test(text), JSON.stringify(text));
  }
});

test("names of people everywhere, markup and emoji stay as they are", () => {
  for (const text of ["<img src=x onerror=alert(1)>", "李小龍", "हिन्दी", "e\u0301", "שלום", "🖥️ Screen", "👩‍💻", "a b"]) {
    assert.equal(visible(text), text);
    assert.equal(hides(text), false);
  }
});

test("lines stay where they are wanted, and a long text is cut", () => {
  assert.equal(visible("a\n\tb\r", { lines: true }), "a\n\tb\\r");
  assert.equal(visible("x".repeat(3000)).length, 2001);
  assert.equal(visible("abc", { longest: 2 }), "ab…");
});
