/** Choices that this browser keeps. There is nothing secret among them. */
import { effect, signal } from "@preact/signals";

const PREFIX = "stream/";
const memory = new Map<string, string>();

function read(key: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + key) ?? memory.get(key);
  } catch {
    // A frame of another site, or a browser that keeps nothing.
    return memory.get(key);
  }
}

function write(key: string, value: string): void {
  memory.set(key, value);
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch { /* Kept until the page is closed. */ }
}

export interface Settings { get(key: string): string | undefined; set(key: string, value: string): void }

/** Where choices of a target are kept, and whose; `undefined` if the target is not known, as for a bare URL. */
export type Place = { host: string; target: string; account: Account } | undefined;

/** Who is signed in: a user, with the rights of a key. */
export interface Account { user: string; key: string }

function placeKey(place: Place): string | undefined {
  return place && `target/${encodeURIComponent(place.host)}/${encodeURIComponent(place.target)}/`;
}

/** Choices of one target; the last one made for any target of the kind is the default. */
export function settingsOf(place: Place, kind: string): Settings {
  const own = placeKey(place);
  return {
    get: (key) => (own === undefined ? undefined : read(own + key)) ?? read(`kind/${kind}/${key}`),
    set(key, value) {
      if (own !== undefined) write(own + key, value);
      write(`kind/${kind}/${key}`, value);
    },
  };
}

/** Permissions: for exactly one target, never a default for others, and of one person, since a browser may have several. */
export function permissionsOf(place: Place): Settings {
  const own = place && `account/${encodeURIComponent(place.account.key)}/${encodeURIComponent(place.account.user)}/${placeKey(place)}`;
  const kept = new Map<string, string>();
  return {
    get: (key) => kept.get(key) ?? (own === undefined ? undefined : read(`${own}${key}`)),
    set(key, value) {
      kept.set(key, value);
      if (own !== undefined) write(`${own}${key}`, value);
    },
  };
}

export type Theme = "auto" | "light" | "dark";

function keptTheme(): Theme {
  const kept = read("theme");
  return kept === "light" || kept === "dark" ? kept : "auto";
}

export const theme = signal<Theme>(keptTheme());

export function chooseTheme(choice: Theme): void {
  theme.value = choice;
  write("theme", choice);
}

/** Keeps the document's colours as chosen. Views hear of it by the event `themechange` of the document. */
export function applyTheme(): void {
  effect(() => {
    if (theme.value === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme.value;
    document.dispatchEvent(new Event("themechange"));
  });
}
