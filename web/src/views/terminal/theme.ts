import type { ITheme } from "@xterm/xterm";
import { isDark } from "../dark";

const DARK: ITheme = {
  black: "#24292f", red: "#ff7b72", green: "#56d364", yellow: "#e3b341", blue: "#79c0ff", magenta: "#d2a8ff",
  cyan: "#56d4dd", white: "#c9d1d9", brightBlack: "#8b949e", brightRed: "#ffa198", brightGreen: "#7ee787",
  brightYellow: "#f2cc60", brightBlue: "#a5d6ff", brightMagenta: "#e2c5ff", brightCyan: "#b3f0ff", brightWhite: "#ffffff",
};
const LIGHT: ITheme = {
  black: "#24292f", red: "#b91c1c", green: "#15692e", yellow: "#7a5200", blue: "#0550ae", magenta: "#7b2fbf",
  cyan: "#0e6170", white: "#59636e", brightBlack: "#57606a", brightRed: "#a40e26", brightGreen: "#0f5323",
  brightYellow: "#633c01", brightBlue: "#0a3069", brightMagenta: "#5b21b6", brightCyan: "#0b4c58", brightWhite: "#1f2328",
};

/** Colours of a terminal that has the colours of `element`. */
export function themeOf(element: Element): ITheme {
  const { backgroundColor: background, color: foreground } = getComputedStyle(element);
  const dark = isDark(element);
  return {
    ...(dark ? DARK : LIGHT),
    background,
    foreground,
    cursor: foreground,
    cursorAccent: background,
    selectionBackground: dark ? "#3b5578" : "#b6d6ff",
    selectionInactiveBackground: dark ? "#36404d" : "#d5dde6",
    scrollbarSliderBackground: dark ? "#8b949e55" : "#57606a55",
    scrollbarSliderHoverBackground: dark ? "#8b949e99" : "#57606a99",
    scrollbarSliderActiveBackground: dark ? "#8b949ecc" : "#57606acc",
  };
}

/** Colours of what a search found. */
export function matchesOf(element: Element) {
  const dark = isDark(element);
  return {
    matchBackground: dark ? "#5a4a00" : "#ffe08a",
    matchOverviewRuler: dark ? "#e3b341" : "#b58900",
    activeMatchBackground: dark ? "#9e6a03" : "#ffb84d",
    activeMatchBorder: dark ? "#ffd866" : "#7a5200",
    activeMatchColorOverviewRuler: dark ? "#ffd866" : "#7a5200",
  };
}

/** The page's font of one width. */
export function fontOf(element: Element): string {
  const own = getComputedStyle(element).getPropertyValue("--mono").trim();
  return own || 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace';
}
