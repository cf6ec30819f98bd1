import { chooseTheme, theme, type Theme } from "../settings";
import type { Item } from "./menu";

const THEMES: [Theme, string][] = [["auto", "Colours of the system"], ["light", "Light"], ["dark", "Dark"]];

/** The choices of colours, for menus. */
export function themeItems(): Item[] {
  return [
    { label: "Colours", heading: true },
    ...THEMES.map(([value, label]) => ({ label, pressed: theme.value === value, run: () => chooseTheme(value) })),
  ];
}
