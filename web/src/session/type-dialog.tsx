import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { Dialog } from "../parts/dialog";
import { Message } from "../parts/message";
import type { View } from "../views/view";

/** Types a text as keys, for screens that have no clipboard: at boot, at a login. */
export function TypeDialog({ view, onClose }: { view: View; onClose(): void }) {
  const text = useRef<HTMLTextAreaElement>(null);
  const enter = useRef<HTMLInputElement>(null);
  const typing = useSignal(false);
  const error = useSignal<string | undefined>(undefined);
  const type = async (event: Event) => {
    event.preventDefault();
    const written = text.current?.value ?? "";
    if (written === "" || typing.value) return;
    typing.value = true;
    try {
      await view.type?.(written + (enter.current?.checked ? "\n" : ""));
      onClose();
      view.focus();
    } catch {
      error.value = "The text could not be typed to its end. The connection may be closed.";
      typing.value = false;
    }
  };
  return (
    <Dialog title="Type a text" onClose={onClose} wide>
      <form onSubmit={(event) => void type(event)}>
        <div class="dialog-body">
          {error.value !== undefined && <Message>{error.value}</Message>}
          <label class="field">
            <span>Text</span>
            <textarea ref={text} data-first rows={6} spellcheck={false} autocapitalize="off" autocomplete="off" readOnly={typing.value} />
          </label>
          <label class="check"><input type="checkbox" ref={enter} /> Press Enter at the end</label>
          <p class="help">It is sent key by key to what has the focus on the other side. That side's keyboard layout decides which characters appear.</p>
        </div>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onClose}>{typing.value ? "Close" : "Cancel"}</button>
          <button type="submit" class="button primary" disabled={typing.value}>{typing.value ? "Typing…" : "Type"}</button>
        </div>
      </form>
    </Dialog>
  );
}
