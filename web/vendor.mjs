// The npm packages that the build needs, as the registry's own archives in vendor/, so that it needs no network and no npm.
//   node vendor.mjs fetch [CPU...]   gets those that are missing, with esbuild for these processors (x64, arm64; default: this one)
//   node vendor.mjs unpack           checks them against package-lock.json, and unpacks them into node_modules
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const vendor = join(root, "vendor");

/** What the page contains, and esbuild, which for each system is a program in a package of its own. */
function needed(cpus) {
  const programs = new Set(cpus.map((cpu) => `@esbuild/linux-${cpu}`));
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const found = Object.entries(packages)
    .map(([path, { version, integrity, dev }]) => ({ path, name: path.replace(/^.*node_modules\//, ""), version, integrity, dev }))
    .filter(({ path, name, dev }) => path !== "" && (!dev || name === "esbuild" || programs.has(name)));
  for (const program of programs) {
    if (!found.some(({ name }) => name === program)) throw new Error(`package-lock.json has no ${program}: esbuild does not run here`);
  }
  return found;
}

function archive({ name, version }) {
  return join(vendor, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`);
}

function isRight(wanted) {
  const [algorithm] = wanted.integrity.split("-", 1);
  const hash = createHash(algorithm).update(readFileSync(archive(wanted))).digest("base64");
  return wanted.integrity === `${algorithm}-${hash}`;
}

function check(wanted) {
  const file = archive(wanted);
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`node vendor.mjs fetch\` in ${root}, with a network`);
  if (!isRight(wanted)) throw new Error(`${file} is not the one of package-lock.json: remove it, and run \`node vendor.mjs fetch\``);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: vendor, stdio: ["ignore", "ignore", "inherit"] });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ended with ${status}`);
}

function fetch(cpus) {
  mkdirSync(vendor, { recursive: true });
  const packages = needed(cpus);
  const missing = packages.filter((wanted) => !existsSync(archive(wanted)) || !isRight(wanted));
  if (missing.length > 0) run("npm", ["pack", "--silent", ...missing.map(({ name, version }) => `${name}@${version}`)]);
  packages.forEach(check);
}

function unpack() {
  const packages = needed([process.arch]);
  packages.forEach(check);
  rmSync(join(root, "node_modules"), { recursive: true, force: true });
  for (const wanted of packages) {
    const directory = join(root, wanted.path);
    mkdirSync(directory, { recursive: true });
    run("tar", ["-xzf", archive(wanted), "-C", directory, "--strip-components=1", "--no-same-owner", "--no-same-permissions"]);
  }
  writeFileSync(join(root, "node_modules/.vendored"), "");
}

try {
  const [command, ...cpus] = process.argv.slice(2);
  if (command === "fetch") fetch(cpus.length > 0 ? cpus : [process.arch]);
  else if (command === "unpack") unpack();
  else throw new Error("say `fetch` or `unpack`");
} catch ({ message }) {
  console.error(`vendor: ${message}`);
  process.exit(1);
}
