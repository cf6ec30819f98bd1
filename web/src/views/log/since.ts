/** A time from which the host starts the log again. */
export interface Since { id: string; label: string; seconds: number }

const HOUR = 3600;

export const SINCE: readonly Since[] = [
  { id: "since-15-minutes", label: "Last 15 minutes", seconds: HOUR / 4 },
  { id: "since-hour", label: "Last hour", seconds: HOUR },
  { id: "since-day", label: "Last day", seconds: 24 * HOUR },
  { id: "since-week", label: "Last 7 days", seconds: 7 * 24 * HOUR },
];
