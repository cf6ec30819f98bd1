/** Says that something is going on. */
export function Working({ words }: { words: string }) {
  return <div class="working" role="status"><span class="spinner" aria-hidden="true" />{words}</div>;
}
