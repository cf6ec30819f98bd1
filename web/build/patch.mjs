import { readFile } from "node:fs/promises";
import { basename } from "node:path";

/**
 * An esbuild plugin that replaces text in one file of a package, and fails if the file is not what the patch was
 * made for. `changes`: `{ find, replace, count }`; `prepend`: text before the file.
 */
export function patch(name, filter, changes, prepend = "") {
  return {
    name,
    setup(build) {
      build.onLoad({ filter }, async ({ path }) => {
        let contents = await readFile(path, "utf8");
        for (const { find, replace, count } of changes) {
          const parts = contents.split(find);
          if (parts.length - 1 !== count) {
            const text = `${basename(path)} has ${parts.length - 1} times ${JSON.stringify(find)}, expected ${count}: ` +
              `the package changed, check the patch "${name}"`;
            return { errors: [{ text }] };
          }
          contents = parts.join(replace);
        }
        return { contents: prepend + contents, loader: "js" };
      });
    },
  };
}
