import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Writes the licence of each package that is in the bundle, with its text. */
export async function writeLicences(root, out, metafiles) {
  const packages = new Set();
  for (const { inputs } of metafiles) {
    for (const input of Object.keys(inputs)) {
      // A style sheet that is imported as text keeps its path behind its namespace.
      const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (match) packages.add(match[1]);
    }
  }
  const parts = [
    "This page contains the following packages. Each is under its own licence.\n" +
    "Their sources, in the versions below, are those of the npm registry.\n",
  ];
  for (const name of [...packages].sort()) {
    const directory = join(root, "node_modules", name);
    const { version, license, homepage, repository } = JSON.parse(await readFile(join(directory, "package.json"), "utf8"));
    const texts = readdirSync(directory).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
    if (texts.length === 0) throw new Error(`${name} has no licence text in its directory`);
    const where = homepage ?? repository?.url ?? repository ?? "";
    parts.push(`${"=".repeat(78)}\n${name} ${version}, ${license}\n${where}\n`);
    for (const file of texts) parts.push(`--- ${file}\n\n${(await readFile(join(directory, file), "utf8")).trim()}\n`);
  }
  await writeFile(join(out, "THIRD_PARTY.txt"), parts.join("\n"));
}
