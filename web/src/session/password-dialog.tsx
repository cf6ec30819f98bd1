import { useRef } from "preact/hooks";
import { Dialog } from "../parts/dialog";
import type { PasswordQuestion } from "./running";

/** Asks for what the other side wants to know: it goes there, and is not kept. */
export function PasswordDialog({ question, onDone, onCancel }: { question: PasswordQuestion; onDone(): void; onCancel(): void }) {
  const user = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const name = user.current?.value;
    const secret = password.current?.value ?? "";
    onDone();
    if (name === undefined) question.answer(secret);
    else question.answer(secret, name);
  };
  return (
    <Dialog title="The screen asks for a password" onClose={onCancel}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          {question.user && (
            <label class="field"><span>User</span>
              <input ref={user} data-first autocomplete="off" autocapitalize="off" spellcheck={false} /></label>
          )}
          <label class="field"><span>Password</span>
            <input ref={password} type="password" autocomplete="off" {...(question.user ? {} : { "data-first": true })} /></label>
          <p class="help">It is that of the screen itself, and not your key. This page sends it to the screen and does not keep it.</p>
        </div>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onCancel}>Close the session</button>
          <button type="submit" class="button primary">Continue</button>
        </div>
      </form>
    </Dialog>
  );
}
