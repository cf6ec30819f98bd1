import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Writes the licence of each package that is in the bundle, with its texts, and the notices in the files that are used. */
export async function writeLicences(root, out, metafiles) {
  const packages = new Map();
  for (const { inputs } of metafiles) {
    for (const input of Object.keys(inputs)) {
      // A style sheet that is imported as text keeps its path behind its namespace.
      const [path, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)\/.*/.exec(input) ?? [];
      if (name === undefined) continue;
      if (!packages.has(name)) packages.set(name, new Set());
      packages.get(name).add(path);
    }
  }
  const parts = [
    "This page contains the following packages. Each is under its own licence.\n" +
    "Their sources, in the versions below, are those of the npm registry.\n",
  ];
  for (const name of [...packages.keys()].sort()) {
    const directory = join(root, "node_modules", name);
    const { version, license, homepage, repository } = JSON.parse(await readFile(join(directory, "package.json"), "utf8"));
    const texts = readdirSync(directory, { recursive: true })
      .map((file) => file.replaceAll("\\", "/"))
      .filter((file) => /(^|\/)(licen[cs]e|copying|notice)[^/]*$/i.test(file) && !/\.(js|ts|map)$/.test(file)).sort();
    if (texts.length === 0) throw new Error(`${name} has no licence text in its directory`);
    const where = homepage ?? repository?.url ?? repository ?? "";
    parts.push(`${"=".repeat(78)}\n${name} ${version}, ${license}\n${where}\n`);
    for (const file of texts) parts.push(`--- ${file}\n\n${(await readFile(join(directory, file), "utf8")).trim()}\n`);
    const notices = new Map();
    for (const path of [...packages.get(name)].sort()) {
      for (const notice of noticesOf(await readFile(join(root, path), "utf8"))) {
        if (!notices.has(notice)) notices.set(notice, path.slice(`node_modules/${name}/`.length));
      }
    }
    for (const [notice, file] of notices) parts.push(`--- in ${file}\n\n${notice}\n`);
  }
  await writeFile(join(out, "THIRD_PARTY.txt"), parts.join("\n"));
}

/** The comments that name an owner. Some files of a package have other owners and terms than the package. */
function noticesOf(source) {
  return [...source.matchAll(/^[ \t]*\/\*[\s\S]*?\*\/|(?:^[ \t]*\/\/.*\n)+/gm)]
    .map(([comment]) => comment.split("\n").map((line) => line.trim().replace(/^(\/\*+!?|\*\/|\*|\/\/)/, "").replace(/\*\/$/, "").trimEnd()).join("\n").trim())
    .filter((text) => text.length < 8000 && /copyright|\(c\) \d/i.test(text));
}
