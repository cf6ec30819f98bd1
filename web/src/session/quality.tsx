import { Menu, type Item } from "../parts/menu";
import { Icon } from "../parts/icons";
import { bytes } from "../parts/time";
import type { Figures, Running } from "./running";

/** Round trips above these, in milliseconds, are fair or poor. */
const FAIR = 150;
const POOR = 400;

function grade({ roundTrip, stalled }: Figures): "good" | "fair" | "poor" | "unknown" {
  if (stalled !== undefined) return "poor";
  if (roundTrip === undefined) return "unknown";
  return roundTrip > POOR ? "poor" : roundTrip > FAIR ? "fair" : "good";
}

const WORDS = { good: "good", fair: "slow", poor: "very slow", unknown: "not measured" };

/** How good the connection is: a word and a time, and the figures behind them. */
export function Quality({ running }: { running: Running }) {
  const figures = running.figures.value;
  const ended = running.ended.value !== undefined;
  const { roundTrip, stalled } = figures;
  const how = grade(figures);
  const time = roundTrip === undefined ? "" : `${roundTrip < 10 ? roundTrip.toFixed(1) : Math.round(roundTrip)} ms`;
  const items: Item[] = [
    { label: "Connection", heading: true },
    { label: "Round trip to the host", hint: time === "" ? "not measured" : time },
    { label: "Received", hint: bytes(figures.bytesIn) },
    { label: "Sent", hint: bytes(figures.bytesOut) },
    ...(stalled === undefined ? [] : [{ label: "Nothing came for", hint: `${Math.round(stalled / 1000)} s` }]),
  ];
  const state = ended ? "ended" : stalled !== undefined ? "stalled" : WORDS[how];
  return (
    <Menu label="Connection" class={`quality ${ended ? "unknown" : how}`} items={items} hint={`Connection: ${state}`}>
      <Icon name="signal" size={16} />
      <span class="quality-time">{ended ? "ended" : stalled !== undefined ? "stalled" : time}</span>
      <span class="sr">Connection: {state}</span>
    </Menu>
  );
}
