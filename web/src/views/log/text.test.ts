import assert from "node:assert/strict";
import { test } from "node:test";
import { levelOf } from "./level";
import { pieces, plain } from "./text";

test("what is hidden in a line is shown", () => {
  assert.equal(plain("tab\tstays <b>&amp;"), "tab\tstays <b>&amp;");
  assert.equal(plain("\x1b]52;c;aGVsbG8=\x07 \x1b[2J \x00\x7f\x9b1m"), "^[]52;c;aGVsbG8=^G ^[[2J ^@^?<9B>1m");
  assert.equal(plain("user\u202egnp.exe \u2066x\u200b\ufeff\u2028"), "user<U+202E>gnp.exe <U+2066>x<U+200B><U+FEFF><U+2028>");
  assert.equal(plain("👩‍💻 zażółć"), "👩‍💻 zażółć");
});

test("colours become classes, and nothing else does", () => {
  assert.deepEqual(pieces("plain"), [{ text: "plain", classes: "" }]);
  assert.deepEqual(pieces("\x1b[1;31mred\x1b[0m \x1b[93;4myellow\x1b[39m under\x1b[m"), [
    { text: "red", classes: "log-red log-bold" }, { text: " ", classes: "" },
    { text: "yellow", classes: "log-yellow log-underline" }, { text: " under", classes: "log-underline" },
  ]);
  assert.deepEqual(pieces("\x1b[38;5;9mnine\x1b[38;2;1;2;3mtrue\x1b[48;5;1;8mhidden?\x1b[38;5;200mx"), [
    { text: "nine", classes: "log-red" }, { text: "true", classes: "" }, { text: "hidden?", classes: "" }, { text: "x", classes: "" },
  ]);
  assert.deepEqual(pieces("a\x1b[31mb\x07c"), [
    { text: "a", classes: "" }, { text: "b", classes: "log-red" }, { text: "^G", classes: "log-escape" }, { text: "c", classes: "log-red" },
  ]);
  for (const line of ["", "\x1b[31m", "a\x1b[31mb\x1b", "\x1b[999;;m\u202e", "x\x1b[31;\u202em"]) {
    assert.equal(pieces(line).map(({ text }) => text).join(""), plain(line));
  }
});

test("levels of the usual forms", () => {
  const cases: [string, string | undefined][] = [
    ["2026-11-29T20:00:00Z ERROR it broke", "error"], ["Nov 29 host app[1]: WARNING: hot", "warn"], ["INFO  starting", "info"],
    ["[debug] x", "debug"], ["<3>kernel: x", "error"], ["<30>daemon", "info"], ["<12>user", "warn"],
    ['{"time":1,"level":"warn","msg":"ERROR"}', "warn"], ['{"level":50}', "error"], ['{"level":30}', "info"],
    ['{"PRIORITY":"3","MESSAGE":"x"}', "error"], ['{"severity":"CRITICAL"}', "error"], ['{"msg":"ERROR"}', undefined],
    ["level=debug msg=x", "debug"], ['ts=1 lvl="error"', "error"], ["E1129 20:00:00.1 file.go:1] x", "error"],
    ["sshd[1]: error: no", "error"], ["error[E0308]: mismatched", "error"], ["Nov 29 host kernel: panic: x", "error"],
    ["no errors were found", undefined], ["an information for you", undefined], ["", undefined], ["GET /ERROR.html", undefined],
  ];
  for (const [line, level] of cases) assert.equal(levelOf(line), level, line);
});
