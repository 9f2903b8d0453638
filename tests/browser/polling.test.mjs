// The line without a WebSocket: what polls tell, when they are chosen, and when a socket is tried again.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Connection } from "../../static/connection.mjs";
import { PollingSocket } from "../../static/polling.mjs";
import { GRANTED, JOINED } from "./samples.mjs";

const { type: _, ...GRANT } = GRANTED;
const STANDING = { ...JOINED, granted: null, booking: null, refresh_s: 5 };
const BOOKED = { booking: "b1", seats: ["A-1-0"], status: "held", hold_expires_in_ms: 9_000, together: true };

/** A socket of polls whose server answers by `"METHOD /path"`, and whose clock the test drives. */
function rig(answers) {
  const seen = { asked: [], told: [], closed: null };
  const timers = new Map();
  let id = 0;
  const env = {
    fetch: async (url, { method, headers, body }) => {
      const asked = `${method} ${url.slice(2)}`;
      seen.asked.push({ asked, bearer: headers.authorization ?? null, body: body && JSON.parse(body) });
      const [status, json] = answers[asked] ?? [500, {}];
      if (status === 0) throw new TypeError("no network");
      // An answer that is held back comes when the test says so.
      if (json instanceof Promise) return json.then((body) => ({ ok: true, status, json: async () => body }));
      return { ok: status < 300, status, json: async () => { if (json === undefined) throw new SyntaxError("no JSON"); return json; } };
    },
    setTimeout: (run, ms) => { timers.set(++id, { run, ms }); return id; },
    clearTimeout: (timer) => timers.delete(timer),
    now: () => 0, random: () => 0.5,
  };
  const socket = new PollingSocket("/s", env);
  socket.onmessage = ({ data }) => seen.told.push(JSON.parse(data));
  socket.onclose = ({ code }) => { seen.closed = code; };
  const settled = () => new Promise((resolve) => { setImmediate(resolve); });
  return {
    socket, seen, answers, timers,
    types: () => seen.told.map(({ type }) => type),
    say: async (message) => { socket.send(JSON.stringify(message)); await settled(); await settled(); },
    /** Runs what waits for its time: the opening, the next poll. */
    next: async () => {
      const [key, timer] = [...timers].at(-1);
      timers.delete(key);
      timer.run();
      await settled();
      return timer.ms;
    },
  };
}

async function joined(answers = {}) {
  const line = rig({ "POST /places": [201, JOINED], "GET /places/me": [200, STANDING], ...answers });
  await line.next();
  await line.say({ type: "join" });
  return line;
}

describe("polls", () => {
  test("join, then ask with the place token as often as the server says", async () => {
    const { seen, types, next, answers } = await joined();
    assert.deepEqual(seen.asked.map(({ asked, bearer }) => [asked, bearer]), [["POST /places", null], ["GET /places/me", "Bearer k1.p"]]);
    assert.deepEqual(types(), ["joined", "rank"]);
    answers["GET /places/me"] = [200, { ...STANDING, rank: 4, refresh_s: 2 }];
    assert.equal(await next(), 5_000);
    assert.deepEqual(seen.told.at(-1), { type: "rank", rank: 4, total: 20, eta_s: [60, 120] });
    assert.equal(await next(), 2_000);
  });

  test("a line that was restored is told anew, a phase as news", async () => {
    const { seen, next, answers } = await joined();
    answers["GET /places/me"] = [200, { ...STANDING, epoch: 2, rank: 15 }];
    await next();
    assert.deepEqual([seen.told.at(-1).type, seen.told.at(-1).rank], ["joined", 15]);
    answers["GET /places/me"] = [200, { ...STANDING, epoch: 2, rank: 15, phase: "paused" }];
    await next();
    assert.deepEqual(seen.told.slice(-2).map(({ type }) => type), ["phase", "rank"]);
  });

  test("the turn, its seats, and the booking", async () => {
    const line = await joined({ "GET /places/me": [200, { ...STANDING, state: "granted", rank: 0, granted: GRANT, refresh_s: 2 }] });
    assert.deepEqual(line.types(), ["joined", "joined", "granted"]);
    line.answers["GET /places/me/seats"] = [200, { type: "seat_map", version: 1, taken: "AA==" }];
    await line.say({ type: "seats" });
    await line.next();
    assert.deepEqual(line.types().slice(3), ["seat_map", "pong"], "nothing new, nothing told");
    line.answers["GET /places/me/seats"] = [200, { type: "seat_map", version: 2, taken: "AQ==" }];
    await line.next();
    assert.equal(line.seen.told.at(-1).taken, "AQ==");
    line.answers["POST /places/me/redeem"] = [409, { type: "refused", request: "r1", reason: "seat_taken", seats: ["A-1-0"], retry: true }];
    await line.say({ type: "redeem", request: "r1", token: "k1.t", seats: ["A-1-0"] });
    assert.equal(line.seen.told.at(-1).reason, "seat_taken");
    assert.deepEqual(line.seen.asked.at(-1).body, { request: "r1", token: "k1.t", seats: ["A-1-0"] });
    line.answers["POST /places/me/redeem"] = [200, { ...BOOKED, type: "booking", request: "r2" }];
    line.answers["GET /places/me"] = [200, { ...STANDING, place: null, state: "booked", booking: BOOKED }];
    await line.say({ type: "redeem", request: "r2", token: "k1.t", seats: ["A-1-1"] });
    await line.next();
    assert.deepEqual(line.types().slice(-2), ["booking", "pong"]);
    line.answers["GET /places/me"] = [200, { ...STANDING, place: null, state: "booked", booking: { ...BOOKED, status: "confirmed" } }];
    await line.next();
    assert.equal(line.seen.told.at(-1).status, "confirmed");
  });

  test("a notice comes and goes", async () => {
    const { seen, next, answers } = await joined();
    answers["GET /places/me"] = [200, { ...STANDING, notice: "Doors open at 7" }];
    await next();
    assert.deepEqual(seen.told.filter(({ type }) => type === "notice"), [{ type: "notice", text: "Doors open at 7" }]);
    await next();
    answers["GET /places/me"] = [200, STANDING];
    await next();
    assert.deepEqual(seen.told.filter(({ type }) => type === "notice").map(({ text }) => text), ["Doors open at 7", ""]);
  });

  test("an outage comes and goes", async () => {
    const { seen, next, answers } = await joined();
    for (const body of [{ ...STANDING, outage: true }, { ...STANDING, outage: true }, STANDING]) {
      answers["GET /places/me"] = [200, body];
      await next();
    }
    assert.deepEqual(seen.told.filter(({ type }) => type === "outage").map(({ on }) => on), [true, false]);
  });

  test("a turn whose deadline was put off is told again", async () => {
    const line = await joined({ "GET /places/me": [200, { ...STANDING, state: "granted", granted: GRANT }] });
    line.answers["GET /places/me"] = [200, { ...STANDING, state: "granted", granted: { ...GRANT, expires_in_ms: 360_000 } }];
    await line.next();
    assert.equal(line.seen.told.at(-1).expires_in_ms, 360_000);
  });

  test("a hold that was put off is told again", async () => {
    const line = await joined({ "GET /places/me": [200, { ...STANDING, place: null, state: "booked", booking: BOOKED }] });
    await line.next();
    assert.deepEqual(line.types().slice(-2), ["booking", "pong"]);
    line.answers["GET /places/me"] = [200, { ...STANDING, place: null, state: "booked", booking: { ...BOOKED, hold_expires_in_ms: 60_000 } }];
    await line.next();
    assert.equal(line.seen.told.at(-1).hold_expires_in_ms, 60_000);
  });

  test("a look that was taken before a booking says nothing any more", async () => {
    const line = await joined({ "GET /places/me": [200, { ...STANDING, state: "granted", rank: 0, granted: GRANT, refresh_s: 2 }] });
    let answer;
    line.answers["GET /places/me"] = [200, new Promise((resolve) => { answer = resolve; })];
    await line.next();
    line.answers["POST /places/me/redeem"] = [200, { ...BOOKED, type: "booking", request: "r1" }];
    await line.say({ type: "redeem", request: "r1", token: "k1.t", seats: ["A-1-0"] });
    const told = line.seen.told.length;
    answer({ ...STANDING, state: "granted", rank: 0, granted: GRANT });
    await line.say({ type: "ping" });
    assert.equal(line.seen.told.length, told, "the turn is over");
    line.answers["GET /places/me"] = [200, { ...STANDING, place: null, state: "booked", booking: BOOKED }];
    assert.equal(await line.next(), 0);
    assert.deepEqual(line.types().slice(told), ["pong"]);
  });

  test("one look at a time, and none by who is closed", async () => {
    const line = await joined();
    let answer;
    line.answers["GET /places/me"] = [200, new Promise((resolve) => { answer = resolve; })];
    const before = line.seen.asked.length;
    await line.say({ type: "ping" });
    await line.say({ type: "ping" });
    assert.equal(line.seen.asked.length, before + 1);
    line.socket.close();
    answer(STANDING);
    await new Promise((resolve) => { setImmediate(resolve); });
    assert.equal(line.timers.size, 0);
  });

  test("an answer that is not the server's is as good as none", async () => {
    const portal = await joined({ "POST /places": [200, undefined] });
    assert.deepEqual([portal.seen.closed, portal.types()], [1006, []]);
  });

  test("a full network says when it goes on", async () => {
    const full = await joined({ "POST /places": [429, { code: "too_many", after_ms: 90_000 }] });
    assert.deepEqual(full.seen.told, [{ type: "error", code: "too_many", after_ms: 90_000 }]);
    const busy = await joined({ "POST /places": [429, { code: "too_many" }] });
    assert.deepEqual(busy.seen.told, [{ type: "error", code: "too_many" }]);
  });

  test("a turn that cannot be given up just now is no end", async () => {
    const line = await joined({ "DELETE /places/me": [409, { type: "refused", request: "leave", reason: "busy", retry: true }] });
    await line.say({ type: "leave" });
    assert.equal(line.seen.told.at(-1).type, "refused");
  });

  test("ends: missed, expired, left", async () => {
    const missed = await joined({ "GET /places/me": [200, { ...STANDING, lapsed: "missed" }] });
    assert.deepEqual(missed.seen.told.at(-1), { type: "lapsed", reason: "missed" });
    const expired = await joined({ "GET /places/me": [404, { code: "no_place" }], "GET ": [200, { phase: "open" }] });
    assert.deepEqual(expired.seen.told.at(-1), { type: "lapsed", reason: "expired" });
    const left = await joined({ "DELETE /places/me": [200, { type: "lapsed", reason: "left" }] });
    await left.say({ type: "leave" });
    assert.deepEqual(left.seen.told.at(-1), { type: "lapsed", reason: "left" });
    await left.say({ type: "join", place: "k1.p" });
    assert.equal(left.seen.told.at(-1).type, "rank", "and can join again");
  });

  test("what an HTTP error means is what a socket would be closed with", async () => {
    for (const [answer, code] of [[[401, { code: "identity_invalid" }], 4401], [[403, { code: "limit_reached" }], 4403], [[403, { code: "removed" }], 4403],
      [[410, { code: "sale_closed" }], 4410], [[429, {}], 4429], [[503, { code: "unavailable" }], 4503], [[502, {}], 1006], [[0], 1006]]) {
      const { seen } = await joined({ "POST /places": answer });
      assert.equal(seen.closed, code);
    }
    const closed = await joined({ "GET /places/me": [200, { ...STANDING, phase: "closed" }] });
    assert.equal(closed.seen.closed, 4410);
    const over = await joined({ "GET /places/me": [404, { code: "no_place" }], "GET ": [200, { phase: "closed" }] });
    assert.equal(over.seen.closed, 4410);
  });
});

/** A connection whose sockets and polls are dolls. */
function choice() {
  const made = [];
  const timers = new Map();
  let id = 0;
  let now = 0;
  class Doll {
    constructor(kind) { Object.assign(this, { kind, readyState: 0, sent: [] }); made.push(this); }

    send(text) { this.sent.push(JSON.parse(text)); }

    close() { this.readyState = 3; }

    open() { this.readyState = 1; this.onopen({}); }

    join() { this.open(); this.onmessage({ data: JSON.stringify(JOINED) }); }
  }
  const links = [];
  const connection = new Connection({
    url: "ws://x", hello: () => ({ type: "join" }), makePolling: () => new Doll("polls"),
    onMessage() {}, onStop() {}, onLink: ({ status, via }) => links.push([status, via]),
    env: {
      WebSocket: class extends Doll { constructor() { super("socket"); } },
      setTimeout: (run, ms) => { timers.set(++id, { run, at: now + ms }); return id; },
      clearTimeout: (timer) => timers.delete(timer), now: () => now, random: () => 0.5,
    },
  });
  const next = () => {
    const [key, timer] = [...timers].sort((a, b) => a[1].at - b[1].at)[0];
    timers.delete(key);
    now = timer.at;
    timer.run();
  };
  connection.start();
  return { connection, made, links, next, last: () => made.at(-1), time: () => now };
}

describe("a blocked WebSocket", () => {
  test("polls follow the first socket that fails, and a socket that opens later takes over", () => {
    const { made, links, next, last } = choice();
    last().onclose({ code: 1006 });
    next();
    assert.equal(last().kind, "polls");
    last().join();
    assert.deepEqual(links.at(-1), ["live", "polls"]);
    const [, polls] = made;
    next();
    assert.equal(last().kind, "socket");
    assert.equal(polls.readyState, 1, "polls go on meanwhile");
    last().join();
    assert.equal(polls.readyState, 3);
    assert.deepEqual(links.at(-1), ["live", "socket"]);
  });

  test("a socket that still fails changes nothing, and a booking under way is not disturbed", () => {
    const { made, next, last } = choice();
    last().onclose({ code: 1006 });
    next();
    last().join();
    const [, polls] = made;
    next();
    last().onclose({ code: 1006 });
    assert.equal(polls.readyState, 1);
    polls.busy = true;
    next();
    last().open();
    assert.deepEqual([polls.readyState, last().readyState], [1, 3]);
  });

  test("a socket that opens and then says nothing is as good as blocked, and a later one is tried beside the polls", () => {
    const { made, links, next, last, time } = choice();
    last().open();
    assert.deepEqual(last().sent, [{ type: "join" }]);
    while (last().kind === "socket") next();
    assert.ok(time() <= 8_000, `polls after ${time()} ms`);
    last().join();
    const [first, polls] = made;
    assert.equal(first.readyState, 3);
    while (last() === polls) next();
    last().open(); // As deaf as the first …
    assert.deepEqual([polls.readyState, links.at(-1)], [1, ["live", "polls"]]);
    const deaf = last();
    while (last() === deaf) next();
    assert.deepEqual([deaf.readyState, polls.readyState], [3, 1]);
    last().join(); // … and one that is not.
    assert.deepEqual([polls.readyState, links.at(-1)], [3, ["live", "socket"]]);
    assert.deepEqual(last().sent, [{ type: "join" }]);
  });

  test("where a socket has worked, one cut is no reason to poll", () => {
    const { next, last } = choice();
    last().join();
    last().onclose({ code: 1006 });
    for (let i = 0; i < 3; i++) {
      next();
      assert.equal(last().kind, "socket");
      last().onclose({ code: 1006 });
    }
    next();
    assert.equal(last().kind, "polls");
  });
});
