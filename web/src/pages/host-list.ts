/** The hosts and targets that the page has loaded. */
import { batch, computed, signal } from "@preact/signals";
import { asApiError, asker, onOtherUser } from "../account";
import { ApiError, api, type Host, type Target } from "../api";

export type Targets = { state: "loading" } | { state: "loaded"; targets: Target[] } | { state: "failed"; error: ApiError };

export const hosts = signal<Host[] | undefined>(undefined);
/** After which host the next page begins, if there is one. */
export const next = signal<string | undefined>(undefined);
export const listError = signal<ApiError | undefined>(undefined);
export const loadingMore = signal(false);
export const targetsOf = signal<ReadonlyMap<string, Targets>>(new Map());
export const expanded = signal<ReadonlySet<string>>(new Set());
export const search = signal("");
/** Hosts that the relay found for the search beyond those loaded. */
const found = signal<Host[]>([]);

onOtherUser(() => batch(() => {
  [hosts.value, next.value, listError.value, search.value] = [undefined, undefined, undefined, ""];
  [found.value, targetsOf.value, expanded.value] = [[], new Map(), new Set()];
}));

/** The address of the target that was opened last, so that the list has the focus there when the person comes back. */
export const lastOpened = { path: "" };

/** Hosts are expanded from the start if there are so few. */
const FEW = 3;
/** Loads pages again until here; later ones are loaded when somebody asks for them. */
const MOST_RELOADED = 1000;

/** Loads the list, as long as it was before. Hosts that went stay expanded for when they return. */
export async function reload(): Promise<void> {
  const wanted = Math.min(Math.max(hosts.peek()?.length ?? 0, 1), MOST_RELOADED);
  const user = asker();
  try {
    const all: Host[] = [];
    let after: string | undefined;
    do {
      const page = await api.hosts(after === undefined ? {} : { after });
      all.push(...page.hosts);
      after = page.next;
    } while (after !== undefined && all.length < wanted);
    if (user !== asker()) return;
    const first = hosts.peek() === undefined;
    const cameBack = all.filter(({ host, online }) => online && hosts.peek()?.some((old) => old.host === host && !old.online));
    batch(() => { hosts.value = all; next.value = after; listError.value = undefined; });
    if (first && all.length <= FEW) for (const { host, online } of all) if (online) expand(host);
    for (const { host } of cameBack) if (expanded.peek().has(host)) void loadTargets(host);
  } catch (error) {
    listError.value = asApiError(error);
  }
}

export async function loadMore(): Promise<void> {
  if (next.value === undefined || loadingMore.value) return;
  loadingMore.value = true;
  try {
    const page = await api.hosts({ after: next.value });
    batch(() => { hosts.value = [...(hosts.peek() ?? []), ...page.hosts]; next.value = page.next; listError.value = undefined; });
  } catch (error) {
    listError.value = asApiError(error);
  }
  loadingMore.value = false;
}

export function expand(host: string): void {
  expanded.value = new Set([...expanded.peek(), host]);
  const known = targetsOf.peek().get(host);
  if (known === undefined || known.state === "failed") void loadTargets(host);
}

export function collapse(host: string): void {
  const others = new Set(expanded.peek());
  others.delete(host);
  expanded.value = others;
}

export async function loadTargets(host: string): Promise<void> {
  const user = asker();
  const put = (targets: Targets) => { if (user === asker()) targetsOf.value = new Map([...targetsOf.peek(), [host, targets]]); };
  if (targetsOf.peek().get(host)?.state !== "loaded") put({ state: "loading" });
  try {
    put({ state: "loaded", targets: (await api.targets(host)).targets });
  } catch (error) {
    put({ state: "failed", error: asApiError(error) });
  }
}

let asking: AbortController | undefined;

/** Asks the relay for hosts that are not loaded yet. */
export async function searchMore(): Promise<void> {
  asking?.abort();
  const text = search.value.trim();
  if (text === "" || next.value === undefined) {
    found.value = [];
    return;
  }
  asking = new AbortController();
  try {
    found.value = (await api.hosts({ q: text }, asking.signal)).hosts;
  } catch { /* What is loaded is still searched. */ }
}

export interface Row { host: Host; open: boolean; targets: Targets | undefined; matches: ReadonlySet<string> | undefined }

/** What the page shows: all, or what the search finds in names of hosts, and in names, titles and kinds of loaded targets. */
export const rows = computed<Row[]>(() => {
  const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const loaded = hosts.value ?? [];
  const all = words.length === 0 ? loaded : [...loaded, ...found.value.filter(({ host }) => !loaded.some((known) => known.host === host))];
  const result: Row[] = [];
  for (const host of all) {
    const targets = targetsOf.value.get(host.host);
    const open = expanded.value.has(host.host);
    if (words.length === 0) {
      result.push({ host, open, targets, matches: undefined });
      continue;
    }
    const name = host.host.toLowerCase();
    const rest = words.filter((word) => !name.includes(word));
    const matching = targets?.state !== "loaded" ? [] : targets.targets.filter((target) => {
      const text = `${target.name} ${target.title ?? ""} ${target.kind}`.toLowerCase();
      return rest.every((word) => text.includes(word));
    });
    if (rest.length === 0) result.push({ host, open, targets, matches: undefined });
    else if (matching.length > 0) result.push({ host, open: true, targets, matches: new Set(matching.map(({ name }) => name)) });
  }
  return result;
});
