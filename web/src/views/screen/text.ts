const MOST = 200;

/**
 * A name that the guest chose, as one line that cannot change what stands around it: without control characters and
 * without those that turn the direction of writing.
 */
export function plainName(text: string): string {
  // eslint-disable-next-line no-control-regex
  const plain = text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, " ");
  return [...plain.replace(/ +/g, " ").trim()].slice(0, MOST).join("");
}
