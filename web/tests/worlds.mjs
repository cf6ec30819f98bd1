// What the API answers in the screenshots, by name.
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const evil = "\u001b[31mred\u202egnp.exe <img src=x onerror=alert(1)>\u200b";
const long = "a-very-long-name-that-somebody-gave-to-a-machine-in-a-rack-somewhere-in-the-north-0001";

const TARGETS = [
  { name: "shell", kind: "exec", title: "Shell", modes: ["rw", "ro"], terminal: true, view: "terminal" },
  { name: "syslog", kind: "journal", title: "System journal", modes: ["ro"], params: ["unit"], view: "log", choices: { unit: ["ssh.service", "nginx.service", "postgresql.service"] } },
  { name: "screen", kind: "qmp", title: "Guest screen", modes: ["rw"], view: "spice" },
  { name: "vnc", kind: "unix", title: "Desktop", modes: ["rw", "ro"], view: "vnc" },
  { name: "console", kind: "serial", title: "Serial console", modes: ["rw", "ro"], terminal: true },
  { name: "deploy", kind: "exec", title: "Deploy", modes: ["rw"], terminal: true, params: ["branch", "ref"], choices: { branch: ["main", "next"] } },
  { name: "port", kind: "tcp", modes: ["rw"] },
];

const SESSIONS = [
  { session: "01HZY1", host: "web1", target: "shell", user: "alice", key: "alice", mode: "rw", state: "open", created: ago(4000), started: ago(3990), streams: 1, peer: "192.0.2.17", bytes_in: 20480, bytes_out: 1834000 },
  { session: "01HZY2", host: "web2", target: "syslog", user: "bob@example.com", key: "helpdesk", mode: "ro", params: { unit: "ssh.service" }, state: "open", created: ago(250), started: ago(240), streams: 1, peer: "2001:db8::1:17", bytes_in: 0, bytes_out: 99000 },
  { session: "01HZY3", host: "vm-host", target: "screen", user: "carol", key: "carol", mode: "rw", state: "open", created: ago(90000), started: ago(89990), streams: 6, peer: "198.51.100.4", bytes_in: 1200000, bytes_out: 812000000 },
  { session: "01HZY4", host: "db1", target: evil, user: evil, key: "x", mode: "rw", state: "waiting", created: ago(5), streams: 0 },
];
const ENDED = { session: "01HZY5", host: "web1", target: "shell", user: "alice", key: "alice", mode: "rw", state: "ended", created: ago(9000), started: ago(8990), ended: ago(6000), streams: 0, peer: "192.0.2.17", bytes_in: 2000, bytes_out: 30000, code: 4410, reason: "ended by an administrator" };

const HOSTS = {
  usual: [
    { host: "db1", online: true, version: "0.2.0", since: ago(86400 * 12) },
    { host: "edge-berlin", online: false, version: "0.1.4", since: ago(86400 * 3) },
    { host: "vm-host", online: true, version: "0.2.0", since: ago(7200) },
    { host: "web1", online: true, version: "0.2.0", since: ago(300) },
    { host: "web2", online: true, since: ago(20) },
  ],
  empty: [],
  evil: [{ host: "evil", online: true, version: evil, since: ago(10) }, { host: long.slice(0, 64), online: true, version: "0.2.0", since: ago(1e6) }],
  many: Array.from({ length: 1000 }, (_, index) => ({ host: `node-${String(index).padStart(4, "0")}`, online: index % 7 !== 3, version: "0.2.0", since: ago(index * 977) })),
};

const error = (status, code, message = "") => [status, { code, message }];

/** A world: what the API answers, and what a session sends. */
export function worlds(name) {
  const hosts = HOSTS[name] ?? HOSTS.usual;
  let signedIn = name !== "signed-out";
  const targetsOf = (host) => (host === "evil" || host.startsWith("a-very") ? [
    { name: "evil-title", kind: "exec", title: evil, modes: ["rw"], terminal: true },
    { name: long, kind: "tcp", title: `${long} ${long}`, modes: ["rw", "ro"], params: [evil, "b"] },
  ] : host === "db1" && name === "no-targets" ? [] : host === "ends" ? CODES.map((code) => ({ name: `end-${code}`, kind: "exec", modes: ["rw"], terminal: true })) : TARGETS);
  return {
    broken: name === "broken",
    stream,
    api(method, path, query, body, origin) {
      if (name === "broken") return [0];
      if (path === "sign-in" && body.api_key === "wrong") return error(401, "unauthorized", "no API key, or an unknown one");
      if (path === "sign-in" && body.api_key === "http") return error(403, "plain_http", "sign-in needs TLS or loopback");
      if (path === "sign-in/preview") return body.link === "used" ? error(401, "link_used", "this link was used") : [200, { user: "alice", key: "alice", expires: ago(-600) }];
      if (path === "sign-in") { signedIn = true; return [200, { user: "alice", key: "alice", expires: ago(-36000) }]; }
      if (!signedIn) return error(401, "unauthorized", "sign in");
      if (path === "me") return [200, { user: name === "evil" ? evil : "alice", key: "alice", expires: ago(-36000), modes: ["ro", "rw"] }];
      if (path === "sign-out" && name === "no-sign-out") return [0];
      if (path === "sign-out") { signedIn = false; return [204]; }
      if (path === "hosts" && name === "error") return error(503, "unavailable", "NATS at nats://10.0.0.1:4222 is unreachable");
      if (path === "hosts") {
        const q = query.get("q") ?? "";
        const all = hosts.filter(({ host }) => host.includes(q) && (!query.has("after") || host > query.get("after")));
        const page = all.slice(0, Number(query.get("limit")));
        return [200, { hosts: page, ...(page.length < all.length ? { next: page.at(-1).host } : {}) }];
      }
      const host = /^hosts\/([^/]+)\/targets$/.exec(path)?.[1];
      if (host !== undefined) {
        if (hosts.find((one) => one.host === host)?.online === false) return error(404, "host_offline", "no agent of this host is connected");
        return [200, { host, targets: targetsOf(decodeURIComponent(host)) }];
      }
      if (path === "sessions" && method === "GET") return [200, { sessions: name === "empty" ? [] : query.get("state") === "all" ? [...SESSIONS, ENDED] : SESSIONS }];
      if (path === "sessions") {
        if (body.target === "deploy" && body.params?.ref === "bad") return error(409, "params_not_allowed", "`ref` does not match the owner's pattern");
        if (body.target === "port" && name === "refused") return error(409, "relay_unreachable", "the relay's certificate is not trusted");
        const ends = name === "ending" ? { ends: ago(-272) } : {};
        return [201, { session: "01HZZ", url: `${origin.replace(/^http/, "ws")}/v1/stream/${encodeURIComponent(body.target)}`, expires: ago(-60), mode: body.mode ?? "rw", ...ends }];
      }
      if (/^sessions\/[^/]+\/viewer$/.test(path)) return [200, "[virt-viewer]\ntype=spice\n", { "Content-Type": "application/x-virt-viewer", "Content-Disposition": 'attachment; filename="screen.vv"' }];
      if (method === "DELETE") return [200, { session: "x" }];
      return error(404, "not_found", "nothing is here");
    },
  };
}

export const CODES = [1000, 1001, 1002, 1006, 1007, 1012, 4400, 4401, 4403, 4404, 4408, 4409, 4410, 4413, 4414, 4429, 4502, 4503, 4504];

const TEXT = "\u001b[1;32malice@web1\u001b[0m:\u001b[1;34m~\u001b[0m$ uptime\r\n 10:12:44 up 12 days,  3:01,  1 user,  load average: 0.31, 0.22, 0.18\r\n"
  + "\u001b[1;32malice@web1\u001b[0m:\u001b[1;34m~\u001b[0m$ ";

/** A stream: a prompt, an echo of what is typed, and answers to pings. `end-CODE` ends it soon. */
function stream(ws, name) {
  if (name === "vnc") return screen(ws);
  const code = /^end-(\d+)/.exec(name)?.[1];
  ws.send(Buffer.from(name === "syslog" ? LINES : TEXT));
  ws.on("message", (data, binary) => {
    if (binary) return ws.send(data);
    const message = JSON.parse(String(data));
    if (message.type === "ping") setTimeout(() => ws.send(JSON.stringify({ type: "pong", id: message.id })), 18);
    return undefined;
  });
  if (code === undefined) return;
  setTimeout(() => {
    if (code === "1006") return ws.terminate();
    if (code === "1000") ws.send(JSON.stringify({ type: "exit", code: 0 }));
    // The library refuses codes that only the other side of a fault sends.
    return ws.close(Number(code), code === "4410" ? "maintenance at 18:00, \u202eplease save" : "");
  }, 400);
}

/** The beginning of a VNC server (RFC 6143): asks for a password, shows nothing, and has a text on its clipboard. */
function screen(ws) {
  const steps = [
    () => Buffer.from([1, 2]),
    () => Buffer.alloc(16, 7),
    () => Buffer.alloc(4),
    () => Buffer.concat([Buffer.from([1, 64, 0, 240, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 4]), Buffer.from("desk")]),
    () => Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 0, 0, 10]), Buffer.from("from guest")]),
  ];
  ws.send(Buffer.from("RFB 003.008\n"));
  ws.on("message", (data, binary) => {
    const next = binary ? steps.shift() : undefined;
    if (next) ws.send(next());
    // A text for the screen's clipboard (ClientCutText) is shown as the next text of that clipboard.
    else if (binary && data[0] === 6) ws.send(Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 0, 0, data.length - 8 + 5]), Buffer.from("seen:"), data.subarray(8)]));
  });
  return undefined;
}

const LINES = Array.from({ length: 60 }, (_, line) => `Nov 29 10:${String(line).padStart(2, "0")}:01 web1 sshd[${1000 + line}]: ${line % 9 === 4 ? "error: kex_exchange_identification: Connection closed" : "Accepted publickey for alice from 192.0.2.17 port 50122"}\n`).join("");
