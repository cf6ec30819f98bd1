// Prints the bill of materials (CycloneDX 1.5) of the page: the npm packages that package-lock.json has for it.
//   node sbom.mjs VERSION
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const lock = readFileSync(join(root, "package-lock.json"));
const { packages } = JSON.parse(lock);
const version = process.argv[2] ?? packages[""].version;

const components = Object.entries(packages).filter(([path, { dev }]) => path !== "" && !dev).map(([path, entry]) => {
  const name = path.replace(/^.*node_modules\//, "");
  const purl = `pkg:npm/${name.replace("@", "%40")}@${entry.version}`;
  const [algorithm, hash] = entry.integrity.split("-", 2);
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version: entry.version,
    hashes: [{ alg: algorithm.replace("sha", "SHA-"), content: Buffer.from(hash, "base64").toString("hex") }],
    licenses: [{ license: { id: entry.license } }],
    purl,
  };
});
// The same lock file has the same number, so that the file is the same on each machine.
const hash = createHash("sha256").update(version).update(lock).digest("hex");
const number = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-5${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
const page = {
  type: "application", "bom-ref": "stream-relay-web", name: "stream-relay-web", version,
  licenses: [{ expression: packages[""].license }],
};
console.log(JSON.stringify({
  bomFormat: "CycloneDX", specVersion: "1.5", serialNumber: `urn:uuid:${number}`, version: 1,
  metadata: { component: page },
  components,
  dependencies: [{ ref: page["bom-ref"], dependsOn: components.map((component) => component["bom-ref"]) }],
}, null, 2));
