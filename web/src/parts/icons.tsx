/** Icons, drawn as lines in a box of 24. The names are those that views use in their actions, too. */

const PATHS: Record<string, string> = {
  // pages
  mark: "M4 7c4 0 4 4 8 4s4-4 8-4M4 13c4 0 4 4 8 4s4-4 8-4",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM20 20l-4-4",
  chevron: "M9 6l6 6-6 6",
  down: "M6 9l6 6 6-6",
  up: "M6 15l6-6 6 6",
  check: "M5 12l5 5 9-10",
  close: "M6 6l12 12M18 6L6 18",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  user: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 20c1-4 4-5 8-5s7 1 8 5",
  back: "M15 6l-6 6 6 6",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  info: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 11v5M12 8h.01",
  split: "M4 5h16v14H4zM12 5v14",
  // kinds of targets
  terminal: "M4 5h16v14H4zM7 9l3 3-3 3M12 15h5",
  log: "M5 6h14M5 10h14M5 14h9M5 18h11",
  screen: "M3 5h18v11H3zM9 20h6M12 16v4",
  serial: "M4 8h16l-2 8H6zM8 12h.01M12 12h.01M16 12h.01",
  container: "M12 3l8 4v10l-8 4-8-4V7zM4 7l8 4 8-4M12 11v10",
  socket: "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4",
  machine: "M4 4h16v7H4zM4 13h16v7H4zM7 7.5h.01M7 16.5h.01",
  other: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.8.4-1 1-1 1.7M12 17h.01",
  // actions
  copy: "M8 8h11v12H8zM5 16V4h11",
  paste: "M9 4h6v3H9zM9 5H6v15h12V5h-3",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10",
  type: "M5 7V5h14v2M12 5v14M9 19h6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  "fullscreen-exit": "M9 4v5H4M15 4v5h5M20 15h-5v5M9 20v-5H4",
  language: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM3.5 9h17M3.5 15h17M12 3c-5 5-5 13 0 18M12 3c5 5 5 13 0 18",
  clipboard: "M9 4h6v3H9zM9 5H6v15h12V5h-3M9 12h6M9 16h4",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M13 4.5v5M7 14.5v5",
  filter: "M4 5h16l-6 7v6l-4 2v-8z",
  follow: "M12 4v13M6 12l6 6 6-6M5 21h14",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  stop: "M6 6h12v12H6z",
  wrap: "M4 6h16M4 12h13a3 3 0 0 1 0 6h-4M15 15.5L12.5 18l2.5 2.5M4 18h4",
  clear: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  "zoom-in": "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM20 20l-4-4M11 8v6M8 11h6",
  "zoom-out": "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM20 20l-4-4M8 11h6",
  font: "M4 19L10 5l6 14M6.5 14h7M17 19l2.5-6 2.5 6",
  fit: "M4 5h16v14H4zM8 12h8M8 12l2-2M8 12l2 2M16 12l-2-2M16 12l-2 2",
  resize: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  actual: "M4 5h16v14H4zM9 9v6M15 9v6M12 10.5h.01M12 13.5h.01",
  sound: "M4 10v4h4l5 4V6L8 10zM17 9a4 4 0 0 1 0 6",
  mute: "M4 10v4h4l5 4V6L8 10zM17 10l4 4M21 10l-4 4",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
  signal: "M4 20h3v-5H4zM10.5 20h3v-10h-3zM17 20h3V4h-3z",
  refresh: "M20 11a8 8 0 1 0-2 6M20 4v7h-7",
  clock: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5l3 2",
  key: "M8 9a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 11l9-7M17 6l2 3",
  lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
};

const OTHER_NAMES: Record<string, string> = {
  full: "fullscreen", "1:1": "actual", save: "download", keys: "keyboard", display: "screen",
  scale: "fit", color: "sun", palette: "sun", level: "filter", time: "clock", history: "clock", trash: "clear",
  volume: "sound", "volume-off": "mute", plus: "zoom-in", minus: "zoom-out", bell: "info", view: "eye",
};

export function Icon({ name, size = 18 }: { name: string; size?: number }) {
  const path = PATHS[name] ?? PATHS[OTHER_NAMES[name] ?? ""] ?? PATHS["other"];
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
      stroke-width={name === "more" ? 2.8 : 1.7} stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      <path d={path} />
    </svg>
  );
}

const KINDS: Record<string, [icon: string, words: string]> = {
  journal: ["log", "journal"],
  file: ["log", "log file"],
  files: ["log", "log files"],
  fifo: ["log", "named pipe"],
  exec: ["terminal", "program"],
  serial: ["serial", "serial line"],
  container: ["container", "container"],
  lxc: ["container", "LXC container"],
  incus: ["container", "Incus instance"],
  machine: ["machine", "machine"],
  libvirt: ["screen", "virtual machine"],
  qmp: ["screen", "virtual machine"],
  tcp: ["socket", "network service"],
  unix: ["socket", "local socket"],
};

const VIEWS: Record<string, string> = { terminal: "terminal", log: "log", vnc: "screen", spice: "screen" };

/** The icon of a target. How it is shown says more than what it is: a socket may be a screen. */
export function kindIcon(kind: string, view: string | undefined): string {
  const own = KINDS[kind]?.[0];
  const byView = view === undefined ? undefined : VIEWS[view];
  if (own === "container" || own === "serial" || own === "machine") return own;
  return byView ?? own ?? "other";
}

/** What a kind is called; the kind itself if it is not known. */
export function kindWords(kind: string): string {
  return KINDS[kind]?.[1] ?? kind;
}
