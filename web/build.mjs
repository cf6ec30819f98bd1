// Builds the page into dist/: needs node and node_modules, and no network. The same input gives the same bytes.
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { checkBudgets } from "./build/budgets.mjs";
import { bundle } from "./build/bundle.mjs";
import { writeLicences } from "./build/licences.mjs";
import { writeManifest } from "./build/manifest.mjs";
import { references, writePage } from "./build/pages.mjs";

const root = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "dist"));
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));

process.on("uncaughtException", ({ message }) => {
  console.error(`The page was not built: ${message}`);
  process.exit(1);
});
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const pages = ["src/index.html", "src/view.html"].filter((page) => existsSync(join(root, page)));
const entries = new Set(["src/app.tsx", "src/view.tsx"].filter((entry) => existsSync(join(root, entry))));
for (const page of pages) for (const source of await references(root, page)) entries.add(source);

const metafiles = await bundle(root, out, [...entries].sort());
const [metafile] = entries.size > 0 ? metafiles : [];
for (const page of pages) await writePage(root, out, page, metafile);
if (metafiles.length > 0) await writeLicences(root, out, metafiles);
const sizes = await writeManifest(out, version, { app: "index.html", view: "view.html" });
checkBudgets(root, out, metafile, sizes);
