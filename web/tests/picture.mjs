// What is on a screen in a page, and how to type into it.

/** The picture that a canvas of a page shows: width, height and three bytes for each pixel, as QEMU's own pictures have them. */
export async function picture(page, canvas) {
  const seen = await page.evaluate((selector) => {
    const canvas = document.querySelector(selector);
    if (!canvas?.width) return undefined;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
    return { width: canvas.width, height: canvas.height, data: btoa(text) };
  }, canvas);
  if (!seen) return undefined;
  const rgba = Buffer.from(seen.data, "base64");
  const rgb = Buffer.alloc(seen.width * seen.height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) rgba.copy(rgb, to, from, from + 3);
  return { width: seen.width, height: seen.height, rgb };
}

/** How many pixels differ; undefined if the sizes do. */
export function differing(one, other) {
  if (one?.width !== other?.width || one?.height !== other?.height) return undefined;
  let differ = 0;
  for (let at = 0; at < one.rgb.length; at += 3) {
    if (one.rgb[at] !== other.rgb[at] || one.rgb[at + 1] !== other.rgb[at + 1] || one.rgb[at + 2] !== other.rgb[at + 2]) differ += 1;
  }
  return differ;
}

/** Characters that need Shift on the guest's US keyboard. */
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

/** The keys that type a text. */
export const keysOf = (text) => [...text].map((key) => key === "\n" ? "Enter" : SHIFTED.test(key) ? `Shift+${key}` : key);
