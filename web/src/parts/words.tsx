import { visible } from "./text";

/** Text of another party, set apart so that its direction cannot move what stands beside it. */
export function Words({ text, mono }: { text: string; mono?: boolean }) {
  const shown = visible(text);
  return <bdi class={mono ? "words mono" : "words"} title={shown.length > 24 ? shown : undefined}>{shown}</bdi>;
}
