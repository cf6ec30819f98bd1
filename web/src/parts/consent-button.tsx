import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** How long a question is in sight before it can be answered, in milliseconds: as long as browsers' own questions. */
const IN_SIGHT = 500;

/**
 * Whether a question was in sight for so long, in the window that has the focus, and nothing was pressed meanwhile.
 * Before, a key or a click was meant for what was there before the question, which may be a page of another site.
 */
function useWasInSight(): boolean {
  const was = useSignal(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const begin = () => {
      clearTimeout(timer);
      was.value = false;
      if (!document.hidden && document.hasFocus()) timer = setTimeout(() => { was.value = true; }, IN_SIGHT);
    };
    const onInput = () => { if (!was.peek()) begin(); };
    // Of the window only, so they do not capture: elements have a focus, too.
    const watched: [EventTarget, string, () => void, boolean][] = [
      [document, "visibilitychange", begin, false], [window, "focus", begin, false], [window, "blur", begin, false],
      [window, "keydown", onInput, true], [window, "pointerdown", onInput, true],
    ];
    for (const [target, ...listener] of watched) target.addEventListener(...listener);
    begin();
    return () => {
      clearTimeout(timer);
      for (const [target, ...listener] of watched) target.removeEventListener(...listener);
    };
  }, []);
  return was.value;
}

interface ConsentButtonProps { class: string; busy?: boolean | undefined; onClick(): void; children: ComponentChildren }

/** The answer "yes" to a question that comes up by itself. It gets the focus when it can be pressed. */
export function ConsentButton({ class: name, busy, onClick, children }: ConsentButtonProps) {
  const button = useRef<HTMLButtonElement>(null);
  const hadFocus = useRef(false);
  const ready = useWasInSight();
  useEffect(() => {
    const active = document.activeElement;
    const isNowhere = active === null || active === document.body;
    // A dialog puts it on its first element, until this one can have it.
    const isFirst = !hadFocus.current && button.current?.closest("dialog")?.contains(active) === true;
    if (!ready || !(isNowhere || isFirst)) return;
    hadFocus.current = true;
    button.current?.focus();
  }, [ready]);
  return (
    <button type="button" class={name} ref={button} disabled={busy === true || !ready} onClick={onClick}
      // A key that is held down since before is no answer.
      onKeyDown={(event) => { if (event.repeat && event.key !== "Tab") event.preventDefault(); }}>
      {children}
    </button>
  );
}
