import type { Signal } from "@preact/signals";
import type { Action, View } from "../views/view";
import { copiesHere, copy, hasClipboard, readClipboard, sendsThere, setCopiesHere, setSendsThere } from "./clipboard";
import type { Asking } from "./frame";
import type { Running } from "./running";
import { download } from "./viewer-file";

interface Around {
  running: Running;
  view: View;
  live: boolean;
  mayWrite: boolean;
  pane: HTMLElement | null;
  /** Whether the pane fills the screen. */
  full: boolean;
  paste(text: string): void;
  asking: Signal<Asking | undefined>;
}

/** Actions that every view has, as far as it can do them. */
export function frameActions({ running, view, live, mayWrite, pane, full, paste, asking }: Around): Action[] {
  const all: Action[] = [];
  if (mayWrite && view.type) all.push({ id: "frame-type", label: "Type a text…", icon: "type", run: () => { asking.value = { what: "type" }; } });
  if (mayWrite && view.paste) {
    all.push({ id: "frame-paste", label: "Paste", icon: "paste", run: () => void pasteFromClipboard(paste, asking) });
  }
  const copied = running.clipboard.value;
  if (live && (copied !== undefined || copiesHere(running) || hasClipboard(running))) {
    all.push({
      id: "frame-clipboard", label: "Clipboard", icon: "clipboard",
      items: [
        ...(copied === undefined ? [] : [{ id: "frame-copy", label: "Copy the other side's text here", icon: "copy", run: () => void copy(running, copied) }]),
        {
          id: "frame-copies", label: "Always copy from there to here", icon: "clipboard", pressed: copiesHere(running),
          run: () => {
            const on = !copiesHere(running);
            setCopiesHere(running, on);
            if (on && copied !== undefined) void copy(running, copied);
            running.say(on ? "What is copied there is copied here, too." : "Nothing is copied here by itself any more.");
          },
        },
        ...(mayWrite && hasClipboard(running) ? [{
          id: "frame-sends", label: "Always copy from here to there", icon: "clipboard", pressed: sendsThere(running),
          run: () => {
            const on = !sendsThere(running);
            setSendsThere(running, on);
            running.say(on ? "The other side can read what you copy on this computer." : "The other side gets only what you paste.");
          },
        }] : []),
      ],
    });
  }
  if (view.download) {
    all.push({
      id: "frame-download", label: "Download the text", icon: "download",
      run: () => { const file = view.download?.(); if (file) download(file.name, file.data); },
    });
  }
  // Screens bring their own, which takes the keys of the system along.
  const own = running.actions.value.some(({ id }) => id === "fullscreen");
  if (!own && document.fullscreenEnabled && pane) {
    all.push({
      id: "frame-fullscreen", label: "Full screen", icon: full ? "fullscreen-exit" : "fullscreen", pressed: full,
      run: () => void fullScreen(pane, full),
    });
  }
  return all;
}

async function pasteFromClipboard(paste: (text: string) => void, asking: Signal<Asking | undefined>): Promise<void> {
  const text = await readClipboard();
  if (text === undefined) asking.value = { what: "by-hand" };
  else if (text !== "") paste(text);
}

async function fullScreen(pane: HTMLElement, on: boolean): Promise<void> {
  await (on ? document.exitFullscreen() : pane.requestFullscreen({ navigationUI: "hide" }));
}
