import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { cssText } from "./css-text.mjs";

const common = {
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "none",
  charset: "utf8",
  metafile: true,
  logLevel: "warning",
  jsx: "automatic",
  jsxImportSource: "preact",
};

/** The plugins in `build/plugins/`, in the order of their names. */
async function plugins(root) {
  const directory = join(root, "build/plugins");
  const names = readdirSync(directory).filter((name) => name.endsWith(".mjs")).sort();
  const loaded = await Promise.all(names.map((name) => import(`./plugins/${name}`)));
  return [cssText(esbuild), ...loaded.map((module) => module.default)];
}

/** Bundles the pages, with one chunk per view, and the custom element. Writes into `out`. Returns esbuild's metafiles. */
export async function bundle(root, out, entries) {
  const shared = { ...common, absWorkingDir: root, plugins: await plugins(root) };
  const pages = entries.length === 0 ? undefined : await esbuild.build({
    ...shared,
    entryPoints: entries,
    outdir: out,
    format: "esm",
    splitting: true,
    entryNames: "assets/[name]-[hash]",
    chunkNames: "assets/[name]-[hash]",
    assetNames: "assets/[name]-[hash]",
    loader: { ".svg": "copy", ".png": "copy", ".woff2": "copy" },
  });
  const element = !existsSync(join(root, "src/stream-console.ts")) ? undefined : await esbuild.build({
    ...shared,
    entryPoints: ["src/stream-console.ts"],
    outfile: join(out, "stream-console.js"),
    format: "iife",
  });
  return [pages, element].filter(Boolean).map((result) => result.metafile);
}
