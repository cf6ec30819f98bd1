import assert from "node:assert/strict";
import { test } from "node:test";
import type { Wanted } from "./address";
import { openAtOnce, opensAtOnce } from "./at-once";

test("a link with values is asked about, whatever was permitted for its target", () => {
  const alice = { user: "alice", key: "ops" };
  const opens = (wanted: Wanted, account = alice) => opensAtOnce(wanted, { ...wanted, account });
  const permit = (wanted: Wanted) => openAtOnce(wanted, { ...wanted, account: alice });
  const plain = { host: "h1", target: "shell", params: {} };
  const filled = { ...plain, params: { command: "rm" } };
  assert.equal(opens(plain), false);
  permit(filled);
  assert.equal(opens(plain), false);
  permit(plain);
  assert.equal(opens(plain), true);
  assert.equal(opens(filled), false);
  assert.equal(opens({ ...plain, host: "h2" }), false);
  assert.equal(opens(plain, { ...alice, user: "bob" }), false, "another user of this browser");
  assert.equal(opens(plain, { ...alice, key: "dev" }), false);
});
