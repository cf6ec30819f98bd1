import assert from "node:assert/strict";
import { test } from "node:test";

// A channel that is open would keep node from ending.
globalThis.BroadcastChannel = class extends EventTarget { postMessage() {} } as never;
const { me } = await import("../account");
const { hosts, reload, search, targetsOf } = await import("./host-list");

test("what one user has loaded is not shown to the next", async () => {
  me.value = { user: "alice", key: "one" };
  hosts.value = [{ host: "web1", online: true }];
  targetsOf.value = new Map([["web1", { state: "loading" }]]);
  search.value = "web";
  // The same account, asked for again.
  me.value = { user: "alice", key: "one" };
  assert.equal(hosts.value.length, 1);
  me.value = null;
  assert.deepEqual([hosts.value, targetsOf.value.size, search.value], [undefined, 0, ""]);

  // Nor what was asked for before, and comes afterwards.
  me.value = { user: "alice", key: "one" };
  let answer = (_: Response) => {};
  globalThis.fetch = () => new Promise((resolve) => { answer = resolve; });
  const loading = reload();
  me.value = { user: "bob", key: "one" };
  answer(Response.json({ hosts: [{ host: "web1", online: false }] }));
  await loading;
  assert.equal(hosts.value, undefined);
});
