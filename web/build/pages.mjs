import { basename, dirname, join, posix, relative } from "node:path";
import { readFile, writeFile } from "node:fs/promises";

const REFERENCE = /\b(src|href)="(?!data:|https?:|#)([^"]+\.(?:tsx?|css|svg|png))"/g;
/** The relay fills these in. */
export const PLACEHOLDERS = /__(?:BASE|VIEW_ALLOW|EMBED_ORIGINS|RELAYS)__/;

/** The sources that a page refers to, relative to the root. */
export async function references(root, page) {
  const html = await readFile(join(root, page), "utf8");
  return [...html.matchAll(REFERENCE)].map(([, , path]) => posix.join(dirname(page), path));
}

/** Writes a page with the names of the built files in place of the sources, and the style sheets that they bring. */
export async function writePage(root, out, page, metafile) {
  const built = new Map();
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (output.entryPoint !== undefined) built.set(output.entryPoint, { path: named(root, out, path), output });
  }
  const html = await readFile(join(root, page), "utf8");
  const result = html.replaceAll(REFERENCE, (whole, attribute, path) => {
    const found = built.get(posix.join(dirname(page), path));
    if (found === undefined) throw new Error(`${page} refers to ${path}, which was not built`);
    return `${attribute}="${found.path}"`;
  }).replace(/[ \t]*<\/head>/, (end) => {
    const tags = [];
    for (const source of new Set([...html.matchAll(REFERENCE)].map(([, , path]) => posix.join(dirname(page), path)))) {
      const { output } = built.get(source);
      if (output.cssBundle !== undefined) tags.push(`<link rel="stylesheet" href="${named(root, out, output.cssBundle)}">`);
      for (const { path, kind } of output.imports) {
        if (kind === "import-statement") tags.push(`<link rel="modulepreload" href="${named(root, out, path)}">`);
      }
    }
    return tags.map((tag) => `${tag}\n`).join("") + end;
  });
  await writeFile(join(out, basename(page)), result);
}

function named(root, out, path) {
  return relative(out, join(root, path)).replaceAll("\\", "/");
}
