import { signal } from "@preact/signals";
import { visible } from "./text";

/** How long a notice is shown, in milliseconds. */
const SHOWN_FOR = 6000;

const notices = signal<{ id: number; text: string }[]>([]);
let last = 0;

/** Shows a sentence for a few seconds. */
export function notify(text: string): void {
  last += 1;
  const id = last;
  notices.value = [...notices.value.slice(-2), { id, text: visible(text) }];
  setTimeout(() => { notices.value = notices.value.filter((notice) => notice.id !== id); }, SHOWN_FOR);
}

/** Where the notices of the whole page appear. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {notices.value.map((notice) => <div class="toast" key={notice.id}>{notice.text}</div>)}
    </div>
  );
}
