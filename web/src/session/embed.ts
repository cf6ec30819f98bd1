/** Talks with the page in which `/embed` is framed. Each message goes to, and comes from, exactly one origin. */
import { signal } from "@preact/signals";
import { given, originsOf, type Given } from "./given";

/** What the page around asked to be shown. */
export const embedded = signal<{ given: Given; renew: boolean } | undefined>(undefined);

let parentOrigin: string | undefined;

export function listenToParent(): void {
  const allowed = originsOf("stream-embed-origins");
  addEventListener("message", (event: MessageEvent<unknown>) => {
    if (event.source !== parent || parent === window || !allowed.has(event.origin)) return;
    const message = event.data as Record<string, unknown> | null;
    if (typeof message !== "object" || message?.["type"] !== "stream-open" || typeof message["url"] !== "string") return;
    parentOrigin = event.origin;
    const { url, view, title, mode, renew } = message;
    embedded.value = { given: given(url as string, view, title, mode), renew: renew === true };
  });
}

export type EmbedEvent = { event: "open" } | { event: "end"; code: number | string; sentence: string } | { event: "renew" };

export function sendToParent(event: EmbedEvent): void {
  if (parentOrigin !== undefined) parent.postMessage({ type: "stream-event", ...event }, parentOrigin);
}
