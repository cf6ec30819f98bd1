import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { StreamSocket, type HostMessage, type StreamSocketOptions } from "../src/index.js";
import { next, open, serve, within } from "./server.js";

/** A socket that is open, and the server's side of it. */
async function pair(t: TestContext, options: StreamSocketOptions = {}, protocol: string | false = "stream.v1") {
  const server = await serve(protocol);
  t.after(() => server.stop());
  const coming = server.connection();
  const socket = open(server.url, options);
  const opened = next(socket, "open");
  const peer = await coming;
  await opened;
  return { server, socket, peer };
}

test("it has what noVNC asks of a raw channel, on the object or its class", async (t) => {
  const { socket } = await pair(t);
  const names = [...Object.keys(socket), ...Object.getOwnPropertyNames(Object.getPrototypeOf(socket))];
  for (const name of ["send", "close", "binaryType", "onerror", "onmessage", "onopen", "protocol", "readyState"]) {
    assert.ok(names.includes(name), name);
  }
  assert.equal(socket.readyState, StreamSocket.OPEN);
  assert.equal(socket.protocol, "stream.v1");
  socket.binaryType = "arraybuffer";
  assert.throws(() => { socket.binaryType = "blob"; }, /always "arraybuffer"/);
});

test("control messages before it is open are sent first, in order", async (t) => {
  const server = await serve();
  t.after(() => server.stop());
  const coming = server.connection();
  const socket = open(server.url);
  assert.equal(socket.control({ type: "resize", cols: 100, rows: 30 }), true);
  assert.equal(socket.control({ type: "pause" }), true);
  assert.throws(() => socket.send("too early"), { name: "InvalidStateError" });
  const peer = await coming;
  assert.deepEqual(peer.offered, ["stream.v1"]);
  assert.deepEqual(await peer.control(), { type: "resize", cols: 100, rows: 30 });
  assert.deepEqual(await peer.control(), { type: "pause" });
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 0 });
});

test("payload is bytes in both directions, whatever its type was", async (t) => {
  const { socket, peer } = await pair(t);
  const message = next<MessageEvent<ArrayBuffer>>(socket, "message");
  peer.socket.send(Buffer.from([0, 255, 128]));
  assert.deepEqual([...new Uint8Array((await message).data)], [0, 255, 128]);
  const whole = new Uint8Array([9, 1, 2, 3, 9]);
  socket.send("zażółć");
  socket.send(whole.subarray(1, 4));
  socket.send(whole.buffer);
  socket.send(new DataView(whole.buffer, 4));
  socket.send("");
  const ended = peer.closed;
  socket.close(1000, "done");
  assert.deepEqual(await ended, { code: 1000, reason: "done" });
  assert.equal(Buffer.concat(peer.payload).toString("latin1"), Buffer.concat([
    Buffer.from("zażółć"), Buffer.from([1, 2, 3, 9, 1, 2, 3, 9, 9]),
  ]).toString("latin1"));
  assert.equal(socket.stats.bytesIn, 3);
  assert.equal(socket.stats.bytesOut, 19);
});

test("a large payload is cut below what a relay takes", async (t) => {
  const { socket, peer } = await pair(t);
  const bytes = new Uint8Array(3 * 1024 * 1024).map((_, at) => at % 251);
  socket.send(bytes);
  const ended = peer.closed;
  socket.close();
  await ended;
  assert.ok(peer.payload.every((message) => message.length <= 1024 * 1024));
  assert.ok(Buffer.from(bytes).equals(Buffer.concat(peer.payload)));
});

test("fragments, and borders inside of characters, reach onmessage as whole messages", async (t) => {
  const { socket, peer } = await pair(t);
  const got: number[] = [];
  const second = new Promise<void>((resolve) => {
    socket.onmessage = ({ data }) => {
      got.push(...new Uint8Array(data));
      if (got.length === 7) resolve();
    };
  });
  const euro = Buffer.from("€");
  peer.socket.send(euro.subarray(0, 1), { fin: false, binary: true });
  peer.socket.send(euro.subarray(1, 2), { fin: false, binary: true });
  peer.socket.ping("between");
  peer.socket.send(Buffer.alloc(0), { fin: false, binary: true });
  peer.socket.send(Buffer.concat([euro.subarray(2), Buffer.from("a")]), { fin: true, binary: true });
  peer.socket.send(euro, { binary: true });
  await within("the second message", second);
  assert.equal(Buffer.from(got).toString(), "€a€");
});

test("a control message in fragments is one event, and never a message", async (t) => {
  const { socket, peer } = await pair(t);
  socket.onmessage = () => assert.fail("a control message came as payload");
  const control = next<CustomEvent<HostMessage>>(socket, "control");
  const text = JSON.stringify({ type: "refused", what: "since", message: "żeby €" });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 7) {
    peer.socket.send(bytes.subarray(at, at + 7), { binary: false, fin: at + 7 >= bytes.length });
  }
  assert.deepEqual((await control).detail, { type: "refused", what: "since", message: "żeby €" });
});

test("what is no control message, or an unknown one, is ignored", async (t) => {
  const { socket, peer } = await pair(t);
  const seen: HostMessage[] = [];
  socket.addEventListener("control", ({ detail }) => seen.push(detail));
  for (const text of ["", "[]", "null", "{", "7", '{"type":"later"}', '{"type":"exit","code":"0"}', '{"type":"refused"}',
    '{"type":"__proto__"}', '{"type":"exit","code":3,"more":1}']) peer.socket.send(text);
  while (seen.length === 0) await next(socket, "control");
  assert.deepEqual(seen, [{ type: "exit", code: 3 }]);
});

test("automatic acks follow onmessage, and say at the first byte that they come", async (t) => {
  const { socket, peer } = await pair(t);
  let ran = 0;
  socket.onmessage = () => { ran += 1; };
  peer.socket.send(Buffer.alloc(20_000));
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 0 });
  peer.socket.send(Buffer.alloc(20_000));
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 40_000 });
  assert.equal(ran, 2);
  peer.socket.send(Buffer.alloc(100_000));
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 100_000 });
});

test("manual acks say what the viewer says, and never more than what came", async (t) => {
  const { socket, peer } = await pair(t, { acks: "manual" });
  const message = next(socket, "message");
  peer.socket.send(Buffer.alloc(200_000));
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 0 });
  await message;
  socket.processed(10_000);
  socket.processed(40_000);
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 50_000 });
  socket.processed(1_000_000);
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 150_000 });
  socket.processed(1_000_000);
  const answered = next(socket, "message");
  peer.socket.send(Buffer.alloc(32_768));
  await answered;
  socket.processed(32_768);
  assert.deepEqual(await peer.control(), { type: "ack", bytes: 32_768 });
  assert.throws(() => open("ws://127.0.0.1:1/").processed(1), /acks: "manual"/);
});

test("a ping after the start measures the round trip", async (t) => {
  const { socket, peer } = await pair(t);
  assert.equal(socket.stats.roundTrip, undefined);
  const ping = await peer.control();
  assert.equal(ping.type, "ping");
  await new Promise((later) => setTimeout(later, 30));
  peer.socket.send(JSON.stringify({ type: "pong", id: 12345 }));
  peer.socket.send(JSON.stringify({ type: "pong", id: ping.id }));
  const marker = next(socket, "control");
  peer.socket.send(JSON.stringify({ type: "exit", code: 0 }));
  await marker;
  const { roundTrip, stalled } = socket.stats;
  assert.ok(roundTrip !== undefined && roundTrip >= 25 && roundTrip < 2000, String(roundTrip));
  assert.equal(stalled, undefined);
});

test("it is stalled when a ping stays unanswered and nothing else comes", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const { Quality } = await import("../src/quality.js");
  const pings: number[] = [];
  const quality = new Quality((id) => pings.push(id));
  const pass = (ms: number) => { now += ms; t.mock.timers.tick(ms); };
  quality.start();
  pass(1000);
  pass(3000);
  assert.equal(quality.stalled(), undefined, "a host that never answered is an old one");
  quality.seen();
  quality.answered(1);
  assert.equal(quality.roundTrip, 3000);
  pass(2000);
  assert.deepEqual(pings, [1, 2]);
  pass(1999);
  assert.equal(quality.stalled(), undefined);
  pass(1);
  assert.equal(quality.stalled(), 2000);
  pass(5000);
  assert.equal(quality.stalled(), 7000);
  quality.seen();
  assert.equal(quality.stalled(), undefined, "bytes still come");
  quality.answered(3);
  assert.equal(quality.stalled(), undefined);
  quality.stop();
});

test("the session's key is kept, and a later socket offers it", async (t) => {
  const { server, socket, peer } = await pair(t);
  assert.equal(socket.sessionKey, undefined);
  const control = next(socket, "control");
  peer.socket.send(JSON.stringify({ type: "session", key: "abc123" }));
  await control;
  assert.equal(socket.sessionKey, "abc123");
  const coming = server.connection();
  const second = open(server.url, { sessionKey: "abc123" });
  assert.deepEqual((await coming).offered, ["stream.v1", "stream.session.abc123"]);
  assert.equal(second.sessionKey, "abc123");
});

test("a server that chooses another protocol gets no control messages, and its text is payload", async (t) => {
  const { socket, peer } = await pair(t, { protocols: ["binary"] }, "binary");
  assert.equal(socket.protocol, "binary");
  assert.equal(socket.control({ type: "pause" }), false);
  const message = next<MessageEvent<ArrayBuffer>>(socket, "message");
  peer.socket.send('{"type":"exit","code":0}');
  assert.equal(Buffer.from((await message).data).toString(), '{"type":"exit","code":0}');
  peer.socket.on("message", (_, binary) => assert.ok(binary, "text was sent"));
  peer.socket.send(Buffer.alloc(100_000));
  socket.send("x");
  const ended = peer.closed;
  socket.close(4000);
  assert.equal((await ended).code, 4000);
});

test("a server without subprotocols", async (t) => {
  const { socket, peer } = await pair(t, { protocols: [] }, false);
  assert.deepEqual(peer.offered, []);
  assert.equal(socket.protocol, "");
  const message = next<MessageEvent<ArrayBuffer>>(socket, "message");
  peer.socket.send(Buffer.from("plain"));
  assert.equal(Buffer.from((await message).data).toString(), "plain");
});

test("an eof of the host is answered, unless the viewer wants to go on", async (t) => {
  const { socket, peer } = await pair(t);
  const first = next(socket, "control");
  socket.addEventListener("control", (event) => event.preventDefault(), { once: true });
  peer.socket.send('{"type":"eof"}');
  await first;
  peer.socket.send('{"type":"eof"}');
  assert.deepEqual(await peer.control(), { type: "eof" });
});

test("the end has its code and reason, and the handler can be replaced and removed", async (t) => {
  const { socket, peer } = await pair(t);
  const calls: string[] = [];
  socket.onclose = () => calls.push("old");
  socket.onclose = ({ code, reason, wasClean }) => calls.push(`${code} ${reason} ${wasClean}`);
  socket.onmessage = () => calls.push("message");
  socket.onmessage = null;
  assert.equal(socket.onmessage, null);
  const ended = next(socket, "close");
  peer.socket.send(Buffer.from("x"));
  peer.socket.close(4410, "your session ended");
  await ended;
  assert.deepEqual(calls, ["4410 your session ended true"]);
  assert.equal(socket.readyState, StreamSocket.CLOSED);
  assert.equal(socket.control({ type: "pause" }), false);
});

test("a connection that cannot be made is an error and a close with 1006", async (t) => {
  const server = await serve();
  await server.stop();
  const socket = open(server.url);
  const failed = next(socket, "error");
  const ended = next<CloseEvent>(socket, "close");
  await failed;
  assert.equal((await ended).code, 1006);
  assert.throws(() => open("http:///"), { name: "SyntaxError" });
  t.diagnostic("refused and closed");
});

test("another transport can lie beneath", async () => {
  const sent: (string | Uint8Array)[] = [];
  let readyState = 0;
  let opened!: () => void;
  let received!: (data: ArrayBuffer | string) => void;
  const socket = new StreamSocket("stream:elsewhere", {
    connect: (url, protocols, events) => {
      assert.deepEqual([url, protocols], ["stream:elsewhere", ["stream.v1"]]);
      opened = () => { readyState = 1; events.opened(); };
      received = events.received;
      return {
        protocol: "stream.v1",
        get readyState() { return readyState; },
        bufferedAmount: 7,
        send: (data) => void sent.push(data),
        close: () => { readyState = 3; events.closed(1000, "", true); },
      };
    },
  });
  opened();
  socket.send("hi");
  received(new Uint8Array([1]).buffer);
  assert.equal(socket.bufferedAmount, 7);
  assert.equal(socket.stats.bytesIn, 1);
  const ended = next(socket, "close");
  socket.close();
  await ended;
  assert.deepEqual(sent.map(String), ["104,105", '{"type":"ack","bytes":0}']);
});
