export type Level = "error" | "warn" | "info" | "debug";

/** Where a level stands in a line: not behind the message's first words. */
const LOOKED_AT = 240;

const BY_NAME: [RegExp, Level][] = [
  [/^(?:emerg|alert|crit|fatal|panic|err|severe)/i, "error"],
  [/^warn/i, "warn"],
  [/^(?:notice|info)/i, "info"],
  [/^(?:debug|trace|verbose|fine)/i, "debug"],
];
const BY_PRIORITY: Level[] = ["error", "error", "error", "error", "warn", "info", "info", "debug"];

const SYSLOG = /^<(\d{1,3})>/;
const KLOG = /^([IWEF])\d{4} \d\d:/;
const JOURNAL_JSON = /"PRIORITY"\s*:\s*"?([0-7])"?/;
const JSON_LEVEL = /"(?:level|severity|lvl|loglevel|log\.level|levelname)"\s*:\s*(?:"([A-Za-z]+)|(\d+))/i;
const KEYED = /\b(?:level|lvl|severity)=["']?([A-Za-z]+)/i;
const WORD = /(?:^|[\s[(<|:])(EMERG(?:ENCY)?|ALERT|CRIT(?:ICAL)?|FATAL|PANIC|ERR(?:OR)?|SEVERE|WARN(?:ING)?|NOTICE|INFO|DEBUG|TRACE|VERBOSE)(?=$|[\s\])>|:,/])/;
const BRACKETED = /[[(<](emerg|alert|crit(?:ical)?|fatal|panic|err(?:or)?|severe|warn(?:ing)?|notice|info|debug|trace)[\])>]/i;
const PREFIX = /(?:^|: )(fatal|panic|err(?:or)?|warn(?:ing)?|notice|info|debug)(?:\[[^\]]*\])?:/i;

/** The level of a line, by the forms that programs use; `undefined` if there is none. */
export function levelOf(line: string): Level | undefined {
  const text = line.length > LOOKED_AT ? line.slice(0, LOOKED_AT) : line;
  const syslog = SYSLOG.exec(text);
  if (syslog) return BY_PRIORITY[Number(syslog[1]) & 7];
  if (text.startsWith("{")) {
    // Keys may come in any order.
    const json = line.length > 4096 ? line.slice(0, 4096) : line;
    const priority = JOURNAL_JSON.exec(json);
    if (priority) return BY_PRIORITY[Number(priority[1])];
    const level = JSON_LEVEL.exec(json);
    if (level) return level[1] !== undefined ? byName(level[1]) : byNumber(Number(level[2]));
    return undefined;
  }
  const klog = KLOG.exec(text);
  if (klog) return { I: "info", W: "warn", E: "error", F: "error" }[klog[1]!] as Level;
  const name = (KEYED.exec(text) ?? WORD.exec(text) ?? BRACKETED.exec(text) ?? PREFIX.exec(text))?.[1];
  return name === undefined ? undefined : byName(name);
}

function byName(name: string): Level | undefined {
  return BY_NAME.find(([pattern]) => pattern.test(name))?.[1];
}

/** Numbers as of pino and bunyan: 10 trace to 60 fatal; smaller ones are syslog's. */
function byNumber(level: number): Level | undefined {
  if (level < 8) return BY_PRIORITY[level];
  return level >= 50 ? "error" : level >= 40 ? "warn" : level >= 30 ? "info" : "debug";
}
