// When the socket comes back and when it does not, without a browser.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { delayMs, verdict } from "../../static/backoff.mjs";
import { Connection } from "../../static/connection.mjs";
import { JOINED } from "./samples.mjs";

describe("closes", () => {
  test("the contract's table", () => {
    for (const [code, stop] of [[1009, "broken"], [4400, "broken"], [4401, "identity"], [4403, "limit"], [4409, "replaced"], [4410, "closed"]]) {
      assert.equal(verdict(code).stop, stop);
    }
    for (const code of [1001, 1006, 1011, 1012, 4408, 4429, 4503]) assert.equal(verdict(code).stop, undefined);
    assert.equal(verdict(4429).pace, "slower");
    assert.equal(verdict(1006, { code: "replaced" }).stop, "replaced");
    for (const code of [4403, 1006]) assert.equal(verdict(code, { code: "removed" }).stop, "removed");
    assert.equal(verdict(4503, { code: "replaced" }).stop, undefined);
    assert.equal(verdict(4429, { code: "too_many", after_ms: 90_000 }).why, "network");
  });

  test("delays are jittered, bounded, and follow a drain's own spread", () => {
    const at = (random, attempt, pace = "normal", afterMs = null) => delayMs({ pace, attempt, afterMs, random: () => random });
    assert.ok(at(0, 0) >= 250);
    assert.ok(at(1, 20) <= 30_250);
    assert.ok(at(1, 3) > at(0, 3));
    assert.ok(at(0, 0, "slower") >= 10_000);
    assert.equal(at(0, 0, "slower", 30_000), 30_000);
    assert.ok(at(1, 0, "slower", 600_000) <= 70_000);
    assert.equal(at(0, 0, "drain", 4_000), 4_000);
  });
});

/** A socket and a clock that the test drives. */
function rig({ hello = () => ({ type: "join" }), work = async () => null } = {}) {
  const seen = { links: [], stops: [], messages: [], sockets: [] };
  const timers = new Map();
  let now = 0;
  let id = 0;
  class Socket {
    constructor(url, protocol) {
      Object.assign(this, { url, protocol, readyState: 0, sent: [] });
      seen.sockets.push(this);
    }

    send(text) { this.sent.push(JSON.parse(text)); }

    close() { this.readyState = 3; }
  }
  const connection = new Connection({
    url: "ws://x", hello, work,
    onMessage: (message) => seen.messages.push(message),
    onLink: (link) => seen.links.push(link.status),
    onStop: (stop) => seen.stops.push(stop),
    env: {
      WebSocket: Socket,
      setTimeout: (run, ms) => { timers.set(++id, { run, due: now + ms }); return id; },
      clearTimeout: (timer) => timers.delete(timer),
      now: () => now, random: () => 0.5,
    },
  });
  const pass = (ms) => {
    const end = now + ms;
    for (;;) {
      const next = [...timers].sort((a, b) => a[1].due - b[1].due)[0];
      if (!next || next[1].due > end) break;
      now = next[1].due;
      timers.delete(next[0]);
      next[1].run();
    }
    now = end;
  };
  const last = () => seen.sockets.at(-1);
  const open = () => { last().readyState = 1; last().onopen({}); last().onmessage({ data: JSON.stringify(JOINED) }); };
  return { connection, seen, pass, last, open };
}

describe("connection", () => {
  test("joins first, under the subprotocol", () => {
    const { connection, last, open, seen } = rig();
    connection.start();
    open();
    assert.equal(last().protocol, "waitroom.v1");
    assert.deepEqual(last().sent, [{ type: "join" }]);
    assert.deepEqual(seen.links, ["connecting", "live"]);
  });

  test("comes back after a cut, and stops at a final close", () => {
    const { connection, seen, pass, last, open } = rig();
    connection.start();
    open();
    last().onclose({ code: 1006 });
    assert.equal(seen.sockets.length, 1);
    pass(3_000);
    assert.equal(seen.sockets.length, 2);
    open();
    last().onclose({ code: 4409 });
    pass(120_000);
    assert.equal(seen.sockets.length, 2);
    assert.deepEqual(seen.stops, ["replaced"]);
  });

  test("work that is asked for is done without a socket, and shown with the next join", async () => {
    const asked = { challenge: "k1.a.b", bits: 9 };
    const refuse = ({ last }) => {
      last().readyState = 1;
      last().onopen({});
      last().onmessage({ data: JSON.stringify({ type: "error", code: "proof_needed", message: "", retry: true, proof: asked }) });
      last().onclose({ code: 4429 });
    };
    const settled = () => new Promise((resolve) => { setImmediate(resolve); });
    const able = rig({ work: async ({ challenge }) => `${challenge}.7` });
    able.connection.start();
    refuse(able);
    await settled();
    assert.equal(able.seen.sockets.length, 2);
    able.open();
    assert.deepEqual(able.last().sent, [{ type: "join", proof: "k1.a.b.7" }]);
    assert.deepEqual(able.seen.links, ["connecting", "connecting", "connecting", "live"]);
    // A proof that is not taken (a stored place is nobody's any more, say) is no reason to work without a pause.
    const vain = rig({ work: async ({ challenge }) => `${challenge}.7`, hello: () => ({ type: "join", place: "k1.old" }) });
    vain.connection.start();
    refuse(vain);
    await settled();
    vain.last().readyState = 1;
    vain.last().onopen({});
    assert.deepEqual(vain.last().sent, [{ type: "join", place: "k1.old", proof: "k1.a.b.7" }]);
    refuse(vain);
    await settled();
    assert.equal(vain.seen.sockets.length, 2);
    assert.equal(vain.seen.links.at(-1), "cut");
    // Whoever cannot do it does not try without a pause.
    const unable = rig({ work: () => Promise.reject(new Error("no worker")) });
    unable.connection.start();
    refuse(unable);
    await settled();
    assert.equal(unable.seen.sockets.length, 1);
    assert.equal(unable.seen.links.at(-1), "cut");
    unable.pass(18_000);
    assert.ok(unable.seen.sockets.length > 1);
  });

  test("a socket that answers no ping is dead", () => {
    const { connection, seen, pass, last, open } = rig();
    connection.start();
    open();
    pass(25_000);
    assert.deepEqual(last().sent.at(-1), { type: "ping" });
    last().onmessage({ data: '{"type":"pong"}' });
    pass(9_000);
    assert.equal(seen.sockets.length, 1);
    pass(60_000);
    assert.ok(seen.sockets.length > 1);
  });

  test("waking reconnects at once, once", () => {
    const { connection, seen, last, open, pass } = rig();
    connection.start();
    open();
    pass(5_000);
    last().onclose({ code: 1006 });
    connection.wake();
    connection.wake();
    assert.equal(seen.sockets.length, 2);
  });

  test("waking probes a living socket with little patience", () => {
    const { connection, seen, pass, open, last } = rig();
    connection.start();
    open();
    pass(5_000);
    connection.wake();
    assert.deepEqual(last().sent.at(-1), { type: "ping" });
    pass(3_100);
    assert.equal(seen.links.at(-1), "cut");
  });

  test("after a sleep no socket is trusted", () => {
    const { connection, seen, open, pass } = rig();
    connection.start();
    open();
    pass(5_000);
    connection.wake({ suspended: true });
    assert.equal(seen.sockets.length, 2);
  });

  test("told to slow down, waking does not hurry", () => {
    const { connection, seen, open, last, pass } = rig();
    connection.start();
    open();
    pass(5_000);
    last().onclose({ code: 4429 });
    connection.wake();
    assert.equal(seen.sockets.length, 1);
  });

  test("a drain's after_ms is followed, from when it was said, however the socket ends", () => {
    for (const code of [1012, 1006]) {
      for (const closed of [0, 3_000, 6_900]) {
        const { connection, seen, open, last, pass } = rig();
        connection.start();
        open();
        last().onmessage({ data: '{"type":"reconnect","after_ms":7000}' });
        pass(closed);
        last().onclose({ code });
        pass(6_900 - closed);
        assert.equal(seen.sockets.length, 1, `${code} after ${closed} ms`);
        pass(1_000);
        assert.equal(seen.sockets.length, 2, `${code} after ${closed} ms`);
      }
    }
  });

  test("does not come back for someone who is out", () => {
    let wanted = true;
    const { connection, seen, open, last, pass } = rig({ hello: () => (wanted ? { type: "join" } : null) });
    connection.start();
    open();
    wanted = false;
    last().onclose({ code: 1006 });
    pass(60_000);
    assert.equal(seen.sockets.length, 1);
    assert.equal(seen.links.at(-1), "idle");
  });
});
