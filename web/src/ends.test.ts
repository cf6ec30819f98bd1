import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { API_CODES, CLOSE_CODES, apiEnd, closeEnd, sentence } from "./ends";

const docs = (name: string) => readFileSync(`../docs/${name}`, "utf8");

test("every close code of the contract has a sentence, and 1006", () => {
  const listed = [...docs("protocol.md").matchAll(/^\| (\d{4}) \| `/gm)].map(([, code]) => Number(code));
  assert.ok(listed.length >= 18);
  assert.deepEqual(Object.keys(CLOSE_CODES).map(Number).sort(), [...listed, 1006].sort());
});

test("every code of an error has a sentence", () => {
  const protocol = docs("protocol.md");
  const refusals = protocol.slice(protocol.indexOf("| `bad_command`"), protocol.indexOf("## The grant"));
  const errors = [...docs("platform.md").matchAll(/^\| [45]\d\d \| (`[^|]+`) \|/gm)].flatMap(([, codes]) => [...codes!.matchAll(/`(\w+)`/g)]);
  const listed = [...errors, ...refusals.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code!);
  assert.ok(listed.length >= 35);
  for (const code of listed) assert.ok(Object.hasOwn(API_CODES, code), code);
});

test("each sentence says what happened, why, and what to do", () => {
  for (const end of [...Object.values(CLOSE_CODES), ...Object.values(API_CODES), closeEnd(4999), apiEnd("new_code"), apiEnd("constructor")]) {
    for (const part of [end.what, end.why, end.todo]) assert.match(part, /^[A-Z].*\.$/s);
    assert.ok(sentence(end).length < 400);
  }
});
