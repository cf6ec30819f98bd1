import { useRef } from "preact/hooks";
import { Confirm, Dialog } from "../parts/dialog";
import { Message } from "../parts/message";
import { hides, visible } from "../parts/text";

/** How much of a text is shown, in UTF-16 units. */
const SHOWN = 20_000;

/** Whether a text may do something by itself when it is pasted into a shell. */
export function needsConfirmation(text: string): boolean {
  return /[\r\n]/.test(text) || hides(text);
}

interface ConfirmPasteProps { text: string; onPaste(): void; onClose(): void }

/** Shows what is about to be pasted into a shell. */
export function ConfirmPaste({ text, onPaste, onClose }: ConfirmPasteProps) {
  const unified = text.replace(/\r\n?/g, "\n");
  const lines = unified.replace(/\n$/, "").split("\n").length;
  const what = lines === 1 ? "1 line" : `${lines} lines`;
  return (
    <Confirm title={`Paste ${what}?`} yes={`Paste ${what}`} onYes={onPaste} onClose={onClose} wide uncalled>
      <p>A shell may run each line at once. This is the text:</p>
      {hides(unified) && (
        <Message tone="warn">It has characters that cannot be seen, or that change the order of others. They are written as <code>\u{"{…}"}</code> here.</Message>
      )}
      {unified.length > SHOWN && (
        <Message tone="warn">Only the first {SHOWN} characters are shown here. {unified.length - SHOWN} more are pasted with them.</Message>
      )}
      <pre class="pasted" tabIndex={0} aria-label="The text">{visible(unified, { lines: true, longest: SHOWN })}</pre>
    </Confirm>
  );
}

interface PasteByHandProps { onText(text: string): void; onClose(): void }

/** For browsers that do not let a page read the clipboard: a field to paste into. */
export function PasteByHand({ onText, onClose }: PasteByHandProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  return (
    <Dialog title="Paste" onClose={onClose} wide>
      <div class="dialog-body">
        <label class="field">
          <span>Your browser does not show its clipboard to this page. Paste the text here:</span>
          <textarea ref={field} data-first rows={6} spellcheck={false} autocapitalize="off" />
        </label>
      </div>
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={onClose}>Cancel</button>
        <button type="button" class="button primary" onClick={() => { if (field.current?.value) onText(field.current.value); }}>Paste</button>
      </div>
    </Dialog>
  );
}
