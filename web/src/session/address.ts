/** Addresses of sessions on this page: `open/HOST/TARGET?param=NAME=VALUE&mode=ro&view=vnc`, two of them by `A/B|C/D`. */
import type { Mode } from "../api";
import type { ViewKind } from "../views/view";

/** What a person wants to open. */
export interface Wanted { host: string; target: string; params: Record<string, string>; mode?: Mode; view?: ViewKind }

const VIEWS: readonly string[] = ["terminal", "log", "vnc", "spice"];

export function asView(text: string | null | undefined): ViewKind | undefined {
  return text != null && VIEWS.includes(text) ? text as ViewKind : undefined;
}

/** One or two targets; `undefined` if the path is not one of `open/`. */
export function parseOpen(path: string, query: URLSearchParams): Wanted[] | undefined {
  if (!path.startsWith("open/")) return undefined;
  const halves = path.slice("open/".length).replace(/%7c/gi, "|").split("|");
  if (halves.length > 2) return undefined;
  const all = halves.map((half, index) => {
    const parts = half.split("/");
    const [host, target] = parts.map(decoded);
    return parts.length === 2 && host && target ? wanted(host, target, query, index === 0 ? "" : "2") : undefined;
  });
  return all.every((one) => one !== undefined) ? all : undefined;
}

function wanted(host: string, target: string, query: URLSearchParams, suffix: string): Wanted {
  const params: Record<string, string> = {};
  for (const pair of query.getAll(`param${suffix}`)) {
    const at = pair.indexOf("=");
    if (at > 0) params[pair.slice(0, at)] = pair.slice(at + 1);
  }
  const mode = query.get(`mode${suffix}`);
  const view = asView(query.get(`view${suffix}`));
  return { host, target, params, ...(mode === "ro" || mode === "rw" ? { mode } : {}), ...(view ? { view } : {}) };
}

/** The path of one or two targets, below the page's prefix. */
export function openPath(...all: Wanted[]): string {
  const query = new URLSearchParams();
  all.forEach(({ params, mode, view }, index) => {
    const suffix = index === 0 ? "" : "2";
    for (const [name, value] of Object.entries(params)) query.append(`param${suffix}`, `${name}=${value}`);
    if (mode) query.set(`mode${suffix}`, mode);
    if (view) query.set(`view${suffix}`, view);
  });
  // A `|` of a name is written twice, so that the one between two targets stays the only plain one.
  const path = all.map(({ host, target }) => `${encoded(host)}/${encoded(target)}`).join("|");
  return `open/${path}${query.size > 0 ? `?${query}` : ""}`;
}

function encoded(name: string): string {
  return encodeURIComponent(name.replaceAll("|", "%7C"));
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text).replace(/%7C/g, "|");
  } catch {
    return undefined;
  }
}
