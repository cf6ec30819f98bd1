/** Where in the app the person is. */
import { signal } from "@preact/signals";

/** Path below the page's prefix, without a slash at its beginning, and the query. */
export interface Route { path: string; query: URLSearchParams }

/** What a step of the history remembers: that the person asked for the session, on this page. */
interface StepState { asked?: boolean }

const base = new URL(document.baseURI);

function current(): Route {
  const path = location.pathname.startsWith(base.pathname) ? location.pathname.slice(base.pathname.length) : "";
  return { path: path.replace(/\/+$/, ""), query: new URLSearchParams(location.search) };
}

export const route = signal<Route>(current());

addEventListener("popstate", () => { route.value = current(); });

/** Goes to a path below the prefix. */
export function go(path: string, options: { replace?: boolean; asked?: boolean } = {}): void {
  const url = new URL(path, base);
  const state: StepState = options.asked ? { asked: true } : {};
  if (options.replace) history.replaceState(state, "", url);
  else history.pushState(state, "", url);
  route.value = current();
  scrollTo(0, 0);
}

/** Whether this step was chosen on this page, and not by a link from elsewhere. */
export function wasAsked(): boolean {
  return (history.state as StepState | null)?.asked === true;
}

/** Follows a link of the page without loading the page again. */
export function onLink(event: MouseEvent): void {
  const link = event.currentTarget;
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.href, { asked: true });
}

export function setTitle(text: string): void {
  document.title = text === "" ? "stream" : `${text} · stream`;
}
