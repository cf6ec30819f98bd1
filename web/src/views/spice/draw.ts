import type { Base, Copy, Rect, SpiceDisplayConn } from "@spice-project/spice-html5/src/display.js";

const CLIP_RECTS = 1;
const FORMAT_XRGB = 32;
const CACHE_ME = 1;

function clips(base: Base): Rect[] | undefined {
  return base.clip?.type === CLIP_RECTS ? base.clip.rects?.rects ?? [] : undefined;
}

/** Draws inside of what the guest says may change. */
export function clipped<T>(context: CanvasRenderingContext2D, base: Base, draw: () => T): T {
  const rects = clips(base);
  if (rects === undefined) return draw();
  context.save();
  context.beginPath();
  for (const { left, top, right, bottom } of rects) context.rect(left, top, right - left, bottom - top);
  context.clip();
  try {
    return draw();
  } finally {
    context.restore();
  }
}

/** Draws a part of an image. spice-html5 draws the whole one, and ignores which parts of the screen may change. */
export function drawCopy(this: SpiceDisplayConn, copy: Copy): boolean {
  const { base, src_area: from, image_data: image } = copy;
  const surface = this.surfaces[base.surface_id];
  if (surface === undefined) return false;
  const { context } = surface.canvas;
  const { box } = base;
  const width = from.right - from.left;
  const height = from.bottom - from.top;
  const opaque = !copy.has_alpha || surface.format === FORMAT_XRGB;
  if (copy.has_alpha && opaque) for (let at = 3; at < image.data.length; at += 4) image.data[at] = 255;
  if (opaque && width === box.right - box.left && height === box.bottom - box.top) {
    // Exact, and the fastest way.
    for (const rect of clips(base) ?? [box]) {
      const left = Math.max(rect.left, box.left);
      const top = Math.max(rect.top, box.top);
      const wide = Math.min(rect.right, box.right) - left;
      const high = Math.min(rect.bottom, box.bottom) - top;
      if (wide <= 0 || high <= 0) continue;
      const [x, y] = [left - box.left + from.left, top - box.top + from.top];
      context.putImageData(image, box.left - from.left, box.top - from.top, x, y, wide, high);
    }
  } else {
    const whole = new OffscreenCanvas(image.width, image.height);
    whole.getContext("2d")!.putImageData(image, 0, 0);
    clipped(context, base, () => {
      context.imageSmoothingEnabled = false;
      context.drawImage(whole, from.left, from.top, width, height, box.left, box.top, box.right - box.left, box.bottom - box.top);
    });
  }
  if (copy.descriptor && copy.descriptor.flags & CACHE_ME) (this.cache ??= {})[String(copy.descriptor.id)] = image;
  surface.draw_count += 1;
  return true;
}
