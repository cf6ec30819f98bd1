/** A session's address that another platform gave: where it may lead, and how it is shown. */
import type { ViewKind } from "../views/view";
import { asView } from "./address";

export interface Given { url: string; view: ViewKind | undefined; title: string; readOnly: boolean }

/** The longest address that is taken, in UTF-16 units. */
const LONGEST = 4096;

/** Reads a fragment: the bare address, or `url=ADDRESS&view=vnc&title=TEXT&mode=ro` with an encoded address. */
export function parseFragment(fragment: string): Given | undefined {
  if (fragment === "" || fragment.length > LONGEST * 2) return undefined;
  const bare = /^wss?:/i.test(fragment);
  // Behind a bare address, only words of ours are not part of it.
  const at = bare ? fragment.search(/&(?:view|title|mode)=/) : 0;
  const query = new URLSearchParams(bare ? (at < 0 ? "" : fragment.slice(at + 1)) : fragment);
  const url = bare ? (at < 0 ? fragment : fragment.slice(0, at)) : query.get("url") ?? decoded(fragment);
  if (url === undefined) return undefined;
  return given(url, query.get("view"), query.get("title"), query.get("mode"));
}

export function given(url: string, view: unknown, title: unknown, mode: unknown): Given {
  return {
    url,
    view: asView(typeof view === "string" ? view : undefined),
    title: typeof title === "string" ? title.slice(0, 256) : "",
    readOnly: mode === "ro",
  };
}

function decoded(fragment: string): string | undefined {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return undefined;
  }
}

export type Verdict = { allowed: true; url: string } | { allowed: false; shown: string; why: string; todo: string };

/** The origins in a `<meta>` of the page, separated by spaces. */
export function originsOf(name: string): ReadonlySet<string> {
  const content = document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
  return new Set(content.split(/\s+/).filter((origin) => origin !== "" && !origin.startsWith("__")));
}

/** Whether the page may connect to an address: its origin must be this relay's or one of the list, exactly. */
export function judge(text: string, page: { origin: string; allowed: ReadonlySet<string> }): Verdict {
  const refuse = (why: string, todo: string, shown = hidden(text)): Verdict => ({ allowed: false, shown, why, todo });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return refuse("It is not an address.", "Copy all of it, from wss:// to its end.");
  }
  if (url.protocol !== "wss:" && url.protocol !== "ws:") {
    return refuse("It does not begin with wss://.", "Use the address of a session, as a platform gives it.");
  }
  if (url.username !== "" || url.password !== "") {
    return refuse("It contains a user or a password.", "Remove what is before the @, or ask for another address.", withoutToken(url));
  }
  if (url.hash !== "") return refuse("It has a second #.", "Copy only the address, without what follows.", withoutToken(url));
  if (!page.allowed.has(url.origin) && url.origin !== page.origin.replace(/^http/, "ws")) {
    return refuse("This page connects to its own relay only, and this is another one.",
      `If you trust it, the administrator of this page can add ${url.origin} to web.view_allow.`, withoutToken(url));
  }
  if (url.protocol === "ws:" && page.origin.startsWith("https:") && !isLoopback(url.hostname)) {
    return refuse("It is not encrypted, and browsers refuse that on a page that is.", "Ask for an address that begins with wss://.", withoutToken(url));
  }
  return { allowed: true, url: url.href };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d+){3}$/.test(host);
}

/** An address for people: it is not enough to use the session. */
function withoutToken(url: URL): string {
  return `${url.origin}${hidden(url.pathname)}${url.search === "" ? "" : "?…"}`;
}

function hidden(path: string): string {
  return path.replace(/[^/]{20,}/g, (part) => `${part.slice(0, 4)}…`);
}
