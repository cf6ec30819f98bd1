import type { View } from "../views/view";
import type { Running } from "./running";

/** Key of the permission to copy the other side's clipboard to this computer by itself. */
const COPY_HERE = "copy-here";

export function copiesHere(running: Running): boolean {
  return running.permissions.get(COPY_HERE) === "yes";
}

export function setCopiesHere(running: Running, on: boolean): void {
  running.permissions.set(COPY_HERE, on ? "yes" : "no");
}

/** Key of the permission to give this computer's clipboard to the other side by itself. */
const SEND_THERE = "send-there";

/** Whether the other side has a clipboard of its own: a screen, and not a terminal or a log. */
export function hasClipboard(running: Running): boolean {
  return running.connection.view === "vnc" || running.connection.view === "spice";
}

export function sendsThere(running: Running): boolean {
  return hasClipboard(running) && running.permissions.get(SEND_THERE) === "yes";
}

export function setSendsThere(running: Running, on: boolean): void {
  running.permissions.set(SEND_THERE, on ? "yes" : "no");
}

/** While it is permitted: gives this computer's clipboard to the other side when a person comes back to the view. */
export function sendWhenEntered(running: Running, view: View, body: HTMLElement): () => void {
  let last: string | undefined;
  const enter = async () => {
    if (!sendsThere(running)) return;
    const text = await readClipboard();
    // What came from there does not go back.
    if (text === undefined || text === "" || text === last || text === running.clipboard.peek()) return;
    last = text;
    view.paste?.(text);
  };
  const onEnter = () => { if (body.contains(document.activeElement)) void enter(); };
  addEventListener("focus", onEnter);
  body.addEventListener("focusin", onEnter);
  return () => {
    removeEventListener("focus", onEnter);
    body.removeEventListener("focusin", onEnter);
  };
}

/** Copies a text to this computer's clipboard; says so if the browser refuses. */
export async function copy(running: Running, text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    running.say("Your browser did not allow copying. Click into the page, then try again.");
    return false;
  }
}

/** This computer's clipboard; `undefined` if the browser does not show it. */
export async function readClipboard(): Promise<string | undefined> {
  try {
    return await navigator.clipboard.readText();
  } catch {
    return undefined;
  }
}
