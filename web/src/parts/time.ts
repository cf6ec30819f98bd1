/** Times and sizes in words. */
import { signal } from "@preact/signals";

/** The present, in milliseconds since 1970; moves every 30 s. */
export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 30_000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) now.value = Date.now(); });

const STEPS: [number, string][] = [[86_400, "day"], [3600, "hour"], [60, "minute"]];

/** A duration in its largest whole unit: "3 days". */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  for (const [length, unit] of STEPS) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"}`;
  }
  return seconds < 10 ? "a moment" : "less than a minute";
}

/** The exact time in this time zone, for titles: "2026-11-29 20:00:00". The browser's own formats take it 40 ms to load. */
export function exact(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const two = (number: number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
    + `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** How long ago `time` was, or "" if it is not a time. */
export function since(time: string | undefined, present: number): string {
  const at = time === undefined ? NaN : Date.parse(time);
  return Number.isNaN(at) ? "" : duration(present - at);
}

/** Minutes and seconds: "4:09". */
export function clock(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A count of bytes in decimal units: "1.2 MB". */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
