import { dirname, relative, resolve } from "node:path";

/**
 * `import css from "./terminal.css?text"`: the minified text of a style sheet, for those that come with a view and
 * not with the page.
 */
export function cssText(esbuild) {
  return {
    name: "css-text",
    setup(build) {
      const root = build.initialOptions.absWorkingDir;
      build.onResolve({ filter: /\.css\?text$/ }, async ({ path, resolveDir, kind }) => {
        const found = await build.resolve(path.replace(/\?text$/, ""), { resolveDir, kind });
        // Relative, because esbuild's names of chunks depend on it.
        return found.errors.length > 0 ? found : { path: relative(root, found.path).replaceAll("\\", "/"), namespace: "css-text" };
      });
      build.onLoad({ filter: /.*/, namespace: "css-text" }, async ({ path }) => {
        const result = await esbuild.build({
          entryPoints: [path], bundle: true, minify: true, write: false, logLevel: "silent",
          metafile: true, absWorkingDir: root,
        });
        return {
          contents: result.outputFiles[0].text.trim(),
          loader: "text",
          watchFiles: Object.keys(result.metafile.inputs).map((input) => resolve(root, input)),
          resolveDir: dirname(resolve(root, path)),
        };
      });
    },
  };
}
