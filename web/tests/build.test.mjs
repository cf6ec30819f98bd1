import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { checkBudgets } from "../build/budgets.mjs";
import { writeManifest } from "../build/manifest.mjs";
import { patch } from "../build/patch.mjs";

function directory(t, files) {
  const path = mkdtempSync(join(tmpdir(), "stream-web-"));
  t.after(() => rmSync(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

test("a patch changes the file that it was made for, and fails with another", async (t) => {
  const root = directory(t, { "library.js": "export const a = [one(), one()];\n" });
  const build = (count) => esbuild.build({
    entryPoints: [join(root, "library.js")], write: false, bundle: true, format: "esm", logLevel: "silent",
    plugins: [patch("two", /library\.js$/, [{ find: "one()", replace: "two()", count }], "const two = () => 2;\n")],
  });
  const { outputFiles: [{ text }] } = await build(2);
  assert.match(text, /\[two\(\), two\(\)\]/);
  await assert.rejects(build(1), /library\.js has 2 times "one\(\)", expected 1: the package changed, check the patch "two"/);
});

test("the manifest lists every file, and packs what is not a template", async (t) => {
  const script = "console.log('hello');\n".repeat(100);
  const out = directory(t, {
    "index.html": '<base href="__BASE__/">', "assets/app-1.js": script, "assets/tiny-2.js": "1", "stream-console.js": script,
  });
  const sizes = await writeManifest(out, "1.2.3", { app: "index.html" });
  const { version, pages, files } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
  assert.deepEqual([version, pages], ["1.2.3", { app: "index.html" }]);
  assert.deepEqual(Object.keys(files), ["assets/app-1.js", "assets/tiny-2.js", "index.html", "stream-console.js"]);
  assert.equal(files["index.html"].template, true);
  assert.equal(files["index.html"].encodings, undefined);
  assert.deepEqual(files["assets/app-1.js"].encodings, ["br", "gz"]);
  assert.equal(files["assets/app-1.js"].immutable, true);
  assert.deepEqual(files["assets/tiny-2.js"].encodings, [], "what gets larger is not packed");
  assert.equal(files["stream-console.js"].immutable, undefined);
  assert.match(files["stream-console.js"].etag, /^[0-9a-f]{32}$/);
  assert.equal(brotliDecompressSync(readFileSync(join(out, "assets/app-1.js.br"))).toString(), script);
  assert.equal(gunzipSync(readFileSync(join(out, "assets/app-1.js.gz"))).toString(), script);
  assert.ok(sizes.get("assets/app-1.js") < script.length);
});

test("what is too large fails", (t) => {
  t.mock.method(console, "log", () => {});
  const output = (entryPoint, imports = []) => ({ entryPoint, imports });
  const outputs = {
    "dist/assets/app.js": output("src/app.tsx", [
      { path: "dist/assets/shared.js", kind: "import-statement" }, { path: "dist/assets/terminal.js", kind: "dynamic-import" },
    ]),
    "dist/assets/shared.js": output(undefined),
    "dist/assets/terminal.js": output("src/views/terminal.ts", [{ path: "dist/assets/shared.js", kind: "import-statement" }]),
  };
  const sizes = (shared, terminal) => new Map([["assets/app.js", 10_000], ["assets/shared.js", shared], ["assets/terminal.js", terminal]]);
  const check = (shared, terminal) => checkBudgets("/root", "/root/dist", { outputs }, sizes(shared, terminal));
  check(50_000, 120_000);
  assert.throws(() => check(50_001, 100_000), /larger than its budget: first view, app$/);
  assert.throws(() => check(20_000, 150_001), /larger than its budget: session view, terminal$/);
});
