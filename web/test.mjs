// Compiles the unit tests (every *.test.ts) and runs them, and every *.test.mjs of tests/, with node's own runner.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const out = join(root, ".build/test");
const tests = ["stream-socket", "src", "tests"].flatMap((directory) =>
  readdirSync(join(root, directory), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(root, directory, name)));
rmSync(out, { recursive: true, force: true });
await esbuild.build({
  entryPoints: tests, outdir: out, outbase: root, outExtension: { ".js": ".mjs" },
  bundle: true, platform: "node", format: "esm", target: "node18", packages: "external",
  // Not a package of node_modules: a part of this tree.
  alias: { "stream-socket": join(root, "stream-socket/src/index.ts") },
  loader: { ".css": "text" }, logLevel: "warning",
});
const compiled = readdirSync(out, { recursive: true }).filter((name) => name.endsWith(".mjs")).map((name) => join(out, name));
const plain = readdirSync(join(root, "tests"), { recursive: true }).filter((name) => name.endsWith(".test.mjs")).map((name) => join(root, "tests", name));
const { status } = spawnSync(process.execPath, ["--test", ...compiled.sort(), ...plain.sort()], { stdio: "inherit" });
process.exit(status ?? 1);
