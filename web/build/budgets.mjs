import { join, relative } from "node:path";

const FIRST_VIEW = 60_000;
const SESSION_VIEW = 180_000;
const EVERYTHING = 300_000;
const ELEMENT = 3_000;

/** What is loaded for an output: itself, its style sheet, and what it imports; with `dynamic`, also what it may load later. */
function loaded(outputs, start, dynamic, seen = new Set()) {
  if (seen.has(start) || outputs[start] === undefined) return seen;
  seen.add(start);
  const { imports, cssBundle } = outputs[start];
  if (cssBundle !== undefined) seen.add(cssBundle);
  for (const { path, kind } of imports) {
    if (kind !== "dynamic-import" || dynamic) loaded(outputs, path, dynamic, seen);
  }
  return seen;
}

/** Compares with the budgets. Prints a table; throws if something is too large. */
export function checkBudgets(root, out, metafile, sizes) {
  const rows = [];
  const name = (path) => relative(out, join(root, path)).replaceAll("\\", "/");
  const weight = (paths) => [...paths].reduce((sum, path) => sum + (sizes.get(name(path)) ?? 0), 0);
  const outputs = metafile?.outputs ?? {};
  let firstView = new Set();
  for (const page of ["app", "view"]) {
    const entry = Object.keys(outputs).find((path) => outputs[path].entryPoint === `src/${page}.tsx`);
    if (entry === undefined) continue;
    const first = loaded(outputs, entry, false);
    if (page === "app") firstView = first;
    const html = sizes.get(page === "app" ? "index.html" : "view.html") ?? 0;
    rows.push([`first view, ${page}`, weight(first) + html, FIRST_VIEW]);
  }
  const seen = new Set();
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    const view = /^src\/views\/(terminal|vnc|log|spice)(?:\/index)?\.ts$/.exec(entryPoint ?? "")?.[1];
    if (view === undefined) continue;
    seen.add(view);
    // With what the page around it has loaded before.
    rows.push([`session view, ${view}`, weight(new Set([...firstView, ...loaded(outputs, path, true)])), SESSION_VIEW]);
  }
  if (sizes.has("stream-console.js")) rows.push(["stream-console.js", sizes.get("stream-console.js"), ELEMENT]);
  const code = [...sizes].filter(([file]) => /\.(js|css|html)$/.test(file));
  rows.push(["everything", code.reduce((sum, [, size]) => sum + size, 0), EVERYTHING]);
  for (const [what, size, most] of rows) {
    console.log(`${what.padEnd(24)}${kilobytes(size)} of ${kilobytes(most)} (brotli)${size > most ? "  TOO LARGE" : ""}`);
  }
  const over = rows.filter(([, size, most]) => size > most).map(([what]) => what);
  if (over.length > 0) throw new Error(`larger than its budget: ${over.join(", ")}`);
}

function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(6)} kB`;
}
