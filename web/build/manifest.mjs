import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { PLACEHOLDERS } from "./pages.mjs";

const TYPES = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
};
const PACKED_ALREADY = new Set([".png", ".woff2"]);

export function brotli(bytes) {
  return brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
}

function gzip(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 255; // The system that packed it: "unknown" everywhere.
  return packed;
}

/** Lists and packs what lies in `out`. Returns the size of each file in brotli. */
export async function writeManifest(out, version, pages) {
  const files = {};
  const sizes = new Map();
  const names = readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(out.length + 1).replaceAll("\\", "/"))
    .sort();
  for (const name of names) {
    const type = TYPES[extname(name)];
    if (type === undefined) throw new Error(`${name}: no media type is known for it, add it to build/manifest.mjs`);
    const bytes = await readFile(join(out, name));
    const file = { type, etag: createHash("sha256").update(bytes).digest("hex").slice(0, 32) };
    if (name.startsWith("assets/")) file.immutable = true;
    const packed = brotli(bytes);
    sizes.set(name, Math.min(packed.length, bytes.length));
    if (extname(name) === ".html" && PLACEHOLDERS.test(bytes.toString("utf8"))) {
      // The relay changes it before it serves it.
      file.template = true;
    } else if (!PACKED_ALREADY.has(extname(name))) {
      file.encodings = [];
      for (const [encoding, body] of [["br", packed], ["gz", gzip(bytes)]]) {
        if (body.length >= bytes.length) continue;
        await writeFile(join(out, `${name}.${encoding}`), body);
        file.encodings.push(encoding);
      }
    }
    files[name] = file;
  }
  await writeFile(join(out, "manifest.json"), `${JSON.stringify({ version, pages, files }, null, 1)}\n`);
  return sizes;
}
