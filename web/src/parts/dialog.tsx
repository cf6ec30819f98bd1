import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { ConsentButton } from "./consent-button";

interface DialogProps {
  title: string;
  /** Called when the person closes it, also by Escape. */
  onClose(): void;
  children: ComponentChildren;
  wide?: boolean;
}

/** A modal dialog. The browser keeps the focus in it and gives it back afterwards. */
export function Dialog({ title, onClose, children, wide }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => { if (before instanceof HTMLElement && before.isConnected) before.focus(); };
  }, []);
  return (
    <dialog ref={dialog} class={wide ? "dialog wide" : "dialog"} aria-labelledby={id}
      onCancel={(event) => { event.preventDefault(); onClose(); }}
      onKeyDown={(event) => event.stopPropagation()}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  yes: string;
  danger?: boolean;
  busy?: boolean;
  /** It comes up by itself, while somebody may be typing. */
  uncalled?: boolean;
  onYes(): void;
  onClose(): void;
  children: ComponentChildren;
  wide?: boolean;
}

/** A question with one answer that does something. */
export function Confirm({ title, yes, danger, busy, uncalled, onYes, onClose, children, wide }: ConfirmProps) {
  return (
    <Dialog title={title} onClose={onClose} wide={wide}>
      <div class="dialog-body">{children}</div>
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={onClose} {...(danger ? { "data-first": true } : {})}>Cancel</button>
        {uncalled
          ? <ConsentButton class="button primary" busy={busy} onClick={onYes}>{yes}</ConsentButton>
          : (
            <button type="button" class={danger ? "button danger" : "button primary"} disabled={busy} onClick={onYes}
              {...(danger ? {} : { "data-first": true })}>{yes}</button>
          )}
      </div>
    </Dialog>
  );
}
