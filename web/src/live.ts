/** What changed on the relay, by a request that waits for it. */
import { signal } from "@preact/signals";
import { asApiError, me } from "./account";
import { api } from "./api";

/** Counts up when hosts came, went or changed. */
export const hostsChanged = signal(0);
/** Counts up when sessions began, changed or ended. */
export const sessionsChanged = signal(0);
/** Whether the relay answers at present. */
export const reachable = signal(true);

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

let running: AbortController | undefined;

/** Follows changes while somebody is signed in and the page can be seen. */
export function followChanges(): void {
  const update = () => {
    const wanted = me.value != null && !document.hidden;
    if (wanted && running === undefined) {
      running = new AbortController();
      void follow(running.signal);
    } else if (!wanted) {
      running?.abort();
      running = undefined;
    }
  };
  me.subscribe(update);
  document.addEventListener("visibilitychange", update);
}

async function follow(stop: AbortSignal): Promise<void> {
  let after: number | undefined;
  let pause = FIRST_PAUSE;
  let missed = false;
  while (!stop.aborted) {
    const asked = performance.now();
    try {
      const { at, changed } = await api.live(after, stop);
      // After a gap nobody knows what changed, so everything is asked for.
      if (changed.includes("hosts") || after === undefined || missed) hostsChanged.value += 1;
      if (changed.includes("sessions") || after === undefined || missed) sessionsChanged.value += 1;
      [after, pause, missed, reachable.value] = [at, FIRST_PAUSE, false, true];
      // A relay that answers at once, again and again, must not keep the page busy.
      if (performance.now() - asked < 200) await sleep(300, stop);
    } catch (error) {
      if (stop.aborted) return;
      const failure = asApiError(error);
      if (failure.status === 401) return;
      missed = true;
      reachable.value = failure.code !== "unreachable" && failure.status < 502;
      await sleep(Math.max(pause * (0.5 + Math.random()), (failure.retryAfter ?? 0) * 1000), stop);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }
}

function sleep(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    stop.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}
