import type { Running } from "./running";

/** Key of the permission to copy the other side's clipboard to this computer by itself. */
const COPY_HERE = "copy-here";

export function copiesHere(running: Running): boolean {
  return running.permissions.get(COPY_HERE) === "yes";
}

export function setCopiesHere(running: Running, on: boolean): void {
  running.permissions.set(COPY_HERE, on ? "yes" : "no");
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
