import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

const LEAST = 15;
const STEP = 3;

/** Two sessions side by side, on a narrow page one above the other. The line between them moves by pointer and by keys. */
export function Split({ first, second }: { first: ComponentChildren; second: ComponentChildren }) {
  const share = useSignal(50);
  const root = useRef<HTMLDivElement>(null);
  const move = (to: number) => { share.value = Math.round(Math.min(100 - LEAST, Math.max(LEAST, to))); };
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = {
      ArrowLeft: share.value - STEP, ArrowUp: share.value - STEP, ArrowRight: share.value + STEP, ArrowDown: share.value + STEP,
      Home: LEAST, End: 100 - LEAST, Enter: 50,
    };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  };
  const onPointerDown = (event: PointerEvent) => {
    const line = event.currentTarget as HTMLElement;
    line.setPointerCapture(event.pointerId);
    const onMove = ({ clientX, clientY }: PointerEvent) => {
      const box = root.current?.getBoundingClientRect();
      if (!box) return;
      const stacked = getComputedStyle(line).cursor === "row-resize";
      move(stacked ? (clientY - box.top) / box.height * 100 : (clientX - box.left) / box.width * 100);
    };
    const onUp = () => {
      line.removeEventListener("pointermove", onMove);
      line.removeEventListener("pointerup", onUp);
      line.removeEventListener("pointercancel", onUp);
    };
    line.addEventListener("pointermove", onMove);
    line.addEventListener("pointerup", onUp);
    line.addEventListener("pointercancel", onUp);
  };
  return (
    <div class="split" ref={root} style={{ "--share": `${share.value}fr`, "--rest": `${100 - share.value}fr` }}>
      {first}
      <div class="split-line" role="separator" tabIndex={0} aria-label="Share of the first session" aria-valuenow={share.value}
        aria-valuemin={LEAST} aria-valuemax={100 - LEAST} title="Arrows move it, Enter makes both equal" onKeyDown={onKeyDown}
        onPointerDown={onPointerDown} onDblClick={() => move(50)} />
      {second}
    </div>
  );
}
