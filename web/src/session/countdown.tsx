import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Icon } from "../parts/icons";
import { clock } from "../parts/time";

/** From when on a person is warned, in milliseconds. */
const WARN_FOR = 5 * 60_000;

/** Says from five minutes before it on when the session ends. */
export function Countdown({ endsAt }: { endsAt: number }) {
  const left = useSignal(endsAt - Date.now());
  useEffect(() => {
    left.value = endsAt - Date.now();
    const timer = setInterval(() => { left.value = endsAt - Date.now(); }, 1000);
    return () => clearInterval(timer);
  }, [endsAt]);
  if (left.value > WARN_FOR || left.value <= 0) return null;
  const minutes = Math.ceil(left.value / 60_000);
  return (
    <div class="strip warn">
      <Icon name="clock" size={16} />
      <span aria-hidden="true">Your session ends in {clock(left.value)}. Save your work; then you can open a new one.</span>
      <span class="sr" role="status">Your session ends in {minutes} {minutes === 1 ? "minute" : "minutes"}.</span>
    </div>
  );
}
