import assert from "node:assert/strict";
import { test } from "node:test";
import { cleanPaste, sequence } from "./keys";

test("keys become what xterm sends for them", () => {
  const cases: [string, Parameters<typeof sequence>[1], boolean, string | undefined][] = [
    ["Escape", {}, false, "\x1b"], ["Tab", {}, false, "\t"], ["Tab", { shift: true }, false, "\x1b[Z"],
    ["Enter", {}, false, "\r"], ["Enter", { alt: true }, false, "\x1b\r"],
    ["ArrowUp", {}, false, "\x1b[A"], ["ArrowUp", {}, true, "\x1bOA"], ["ArrowLeft", { ctrl: true }, true, "\x1b[1;5D"],
    ["Home", { shift: true, alt: true }, false, "\x1b[1;4H"],
    ["F1", {}, false, "\x1bOP"], ["F4", { ctrl: true }, false, "\x1b[1;5S"], ["F5", {}, false, "\x1b[15~"],
    ["F12", { shift: true }, false, "\x1b[24;2~"], ["Delete", {}, false, "\x1b[3~"], ["PageUp", { ctrl: true }, false, "\x1b[5;5~"],
    ["Backspace", {}, false, "\x7f"], ["c", { ctrl: true }, false, "\x03"], ["C", { ctrl: true }, false, "\x03"],
    ["x", { ctrl: true, alt: true }, false, "\x1b\x18"], [" ", { ctrl: true }, false, "\0"], ["_", { ctrl: true }, false, "\x1f"],
    ["a", { shift: true }, false, "A"], ["é", {}, false, "é"], ["é", { ctrl: true }, false, "é"], ["👍", {}, false, "👍"],
    ["Shift", {}, false, undefined], ["F13", {}, false, undefined],
  ];
  for (const [key, modifiers, application, expected] of cases) {
    assert.equal(sequence(key, modifiers, application), expected, `${key} ${JSON.stringify(modifiers)}`);
  }
});

test("a paste cannot end its own brackets", () => {
  assert.equal(cleanPaste("a\x1b[201~b\r\nc\rd\te\x03\x9b1~"), "a[201~b\nc\nd\te1~");
});
