import assert from "node:assert/strict";
import { test } from "node:test";
import { openAtOnce, opensAtOnce } from "./at-once";

test("a link with values is asked about, whatever was permitted for its target", () => {
  const plain = { host: "h1", target: "shell", params: {} };
  const filled = { ...plain, params: { command: "rm" } };
  assert.equal(opensAtOnce(plain), false);
  openAtOnce(filled);
  assert.equal(opensAtOnce(plain), false);
  openAtOnce(plain);
  assert.equal(opensAtOnce(plain), true);
  assert.equal(opensAtOnce(filled), false);
  assert.equal(opensAtOnce({ ...plain, host: "h2" }), false);
});
