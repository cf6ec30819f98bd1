import type { Terminal } from "@xterm/xterm";

/** Copies what is selected. Returns a sentence for the user if nothing was copied. */
export async function copySelection(terminal: Terminal): Promise<string | undefined> {
  const text = terminal.getSelection();
  if (text === "") return "Nothing is selected. Select text with the mouse first.";
  try {
    await navigator.clipboard.writeText(text);
    return undefined;
  } catch {
    // Without TLS, or without the permission, the browser's own command still works after a key or a click.
    terminal.focus();
    return document.execCommand("copy") ? undefined : "The browser did not allow to copy. Allow the clipboard for this page.";
  }
}
