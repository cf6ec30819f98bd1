import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, api } from "./api";

test("no secret is sent from a page that came without encryption", async (t) => {
  const fetched = t.mock.method(globalThis, "fetch", () => Promise.reject(new Error("it was sent")));
  Object.defineProperty(globalThis, "isSecureContext", { value: false, configurable: true });
  t.after(() => { Reflect.deleteProperty(globalThis, "isSecureContext"); });
  const isRefused = (error: unknown) => error instanceof ApiError && error.code === "plain_http";
  await assert.rejects(api.signIn({ api_key: "K" }), isRefused);
  await assert.rejects(api.signIn({ link: "L" }), isRefused);
  await assert.rejects(api.preview("L"), isRefused);
  assert.equal(fetched.mock.callCount(), 0);
});
