const ALPHA = 0;
const MONO = 1;
/** Browsers show no larger one. */
const MOST = 128;

export interface CursorShape { type: number; width: number; height: number; hot_spot_x: number; hot_spot_y: number }

/** Pixels of a cursor (RGBA), or undefined if it is of a kind that guests no longer send. */
export function cursorPixels({ type, width, height }: CursorShape, data: Uint8Array): Uint8ClampedArray<ArrayBuffer> | undefined {
  const pixels = new Uint8ClampedArray(width * height * 4);
  if (type === ALPHA) {
    if (data.length < pixels.length) return undefined;
    for (let at = 0; at < pixels.length; at += 4) {
      const alpha = data[at + 3]!;
      // Colours come multiplied by their opacity.
      for (let part = 0; part < 3; part += 1) pixels[at + part] = alpha === 0 ? 0 : (data[at + 2 - part]! * 255) / alpha;
      pixels[at + 3] = alpha;
    }
    return pixels;
  }
  if (type === MONO) {
    const stride = (width + 7) >> 3;
    if (data.length < 2 * stride * height) return undefined;
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const bit = (from: number): boolean => (data[from + y * stride + (x >> 3)]! & (0x80 >> (x & 7))) !== 0;
        const [keep, white] = [bit(0), bit(stride * height)];
        const at = (y * width + x) * 4;
        // What inverts the screen in a guest is black here.
        pixels.fill(white && !keep ? 255 : 0, at, at + 3);
        pixels[at + 3] = keep && !white ? 0 : 255;
      }
    }
    return pixels;
  }
  return undefined;
}

/** The value of the CSS property `cursor` for a guest's cursor. */
export function cursorStyle(shape: CursorShape, data: Uint8Array): string {
  const { width, height, hot_spot_x: x, hot_spot_y: y } = shape;
  if (width === 0 || height === 0 || width > MOST || height > MOST) return "default";
  const pixels = cursorPixels(shape, data);
  if (pixels === undefined) return "default";
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.putImageData(new ImageData(pixels, width, height), 0, 0);
  return `url("${canvas.toDataURL()}") ${Math.min(x, width - 1)} ${Math.min(y, height - 1)}, default`;
}
