// The page's pure parts, without a browser: node --test tests/browser/
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { describe, test } from "node:test";

import { delayMs, verdict } from "../../static/backoff.mjs";
import { applyChanges, decodeTaken } from "../../static/bitmap.mjs";
import { countdown, etaRange, serverClock, serverTime, spokenMark } from "../../static/clock.mjs";
import { Connection } from "../../static/connection.mjs";
import { chooseLanguage } from "../../static/i18n.mjs";
import { legible, neighbour, readPlan } from "../../static/plan.mjs";
import { act, initial, mayJoinAgain, receive, screenOf, wantsPlace } from "../../static/state.mjs";
import { openStore } from "../../static/store.mjs";
import { Tabs } from "../../static/tabs.mjs";
import { en } from "../../static/words-en.mjs";
import { ko } from "../../static/words-ko.mjs";

const PLAN = readPlan({
  name: "hall",
  categories: [{ name: "VIP", color: "#8E44AD" }],
  zones: [{
    name: "A", position: { x: 0, y: 0 },
    rows: [{ row_number: "1", position: { x: 0, y: 0 }, seats: [0, 1, 2, 3].map((n) => ({
      seat_guid: `A-1-${n}`, seat_number: String(n), position: { x: n * 25, y: 0 }, category: "VIP",
    })) }],
  }],
});
const JOINED = {
  type: "joined", place: "k1.p", state: "waiting", rank: 10, total: 20, eta_s: [60, 120],
  phase: "open", opens_at: null, now: "2026-11-22T10:00:00Z", epoch: 1,
};
const GRANTED = { type: "granted", token: "k1.t", expires_in_ms: 300_000, claim_in_ms: 60_000, max_seats: 2 };
const BOOKING = { type: "booking", booking: "b1", seats: ["A-1-0"], status: "confirmed", together: true };

/** Plays messages (by `type`) and actions (by `do`) into a fresh page. */
function play(...steps) {
  return playOn(initial(), ...steps);
}

function playOn(state, ...steps) {
  return steps.reduce((now, { do: type, at = 0, ...rest }) =>
    (type ? act(now, { type, ...rest }, at) : receive(now, rest, at)), state);
}

const TURN = [JOINED, { do: "link", status: "live" }, { do: "plan", plan: PLAN }, GRANTED,
  { type: "seat_map", version: 1, taken: "AA==" }];

describe("bitmap", () => {
  test("bit i, least significant first, is seat i", () => {
    const taken = decodeTaken(Buffer.from([0b00000101, 0b10000000]).toString("base64"));
    assert.deepEqual([...taken.keys()].filter((i) => taken[i]), [0, 2, 15]);
  });

  test("changes apply to a copy and stay inside", () => {
    const before = decodeTaken("AQ==");
    const after = applyChanges(before, [3, 99], [0]);
    assert.deepEqual([...after], [0, 0, 0, 1, 0, 0, 0, 0]);
    assert.equal(before[0], 1);
  });
});

describe("plan", () => {
  test("the real hall: seats in plan order, positions added up", () => {
    const raw = JSON.parse(readFileSync(new URL("../../data/seating-plan-riethsporthalle.json", import.meta.url)));
    const plan = readPlan(raw);
    assert.equal(plan.seats.length, 1222);
    const zone = raw.zones[1];
    const seat = zone.rows[2].seats[3];
    const read = plan.byGuid.get(seat.seat_guid);
    assert.equal(read.x, zone.position.x + zone.rows[2].position.x + seat.position.x);
    assert.equal(plan.seats[read.index], read);
    assert.equal(plan.pitch, 25);
  });

  test("a plan without positions becomes a grid in which no two seats meet", () => {
    const rows = [...Array(20)].map((_, r) => ({ row_number: String(r), seats: [...Array(50)].map((__, s) => ({ seat_guid: `${r}-${s}` })) }));
    const plan = readPlan({ zones: [1, 2, 3, 4].map((z) => ({ name: `Z${z}`, rows: rows.map((row) => ({ ...row, seats: row.seats.map((seat) => ({ seat_guid: `${z}-${seat.seat_guid}` })) })) })) });
    assert.equal(plan.seats.length, 4000);
    assert.equal(new Set(plan.seats.map(({ x, y }) => `${x},${y}`)).size, 4000);
  });

  test("everything at 0,0 counts as not drawn", () => {
    const position = { x: 0, y: 0 };
    const plan = readPlan({ zones: [{ name: "", position, rows: [{ row_number: "1", position, seats: [{ seat_guid: "a", position }, { seat_guid: "b", position }] }] }] });
    assert.notEqual(plan.seats[0].x, plan.seats[1].x);
  });

  test("arrows find the neighbour and stop at the edge", () => {
    assert.equal(neighbour(PLAN.seats, PLAN.seats[1], 1, 0).guid, "A-1-2");
    assert.equal(neighbour(PLAN.seats, PLAN.seats[3], 1, 0), null);
  });

  test("colours become legible on either ground", () => {
    assert.equal(legible("#8E44AD", "#ffffff"), "rgb(142, 68, 173)");
    assert.notEqual(legible("#1D3557", "#15181c"), "rgb(29, 53, 87)");
    assert.notEqual(legible("#ffffff", "#ffffff"), "rgb(255, 255, 255)");
  });
});

describe("clock", () => {
  test("an estimate is rounded outwards, never to promise more", () => {
    assert.deepEqual(etaRange([5, 59]), { unit: "moment" });
    assert.deepEqual(etaRange([119, 181]), { unit: "minutes", low: 1, high: 4 });
    assert.deepEqual(etaRange([3600, 10_000]), { unit: "hours", low: 1, high: 3 });
  });

  test("countdowns", () => {
    assert.equal(countdown(65_000), "1:05");
    assert.equal(countdown(1), "0:01");
    assert.equal(countdown(-5), "0:00");
    assert.equal(countdown(3_661_000), "1:01:01");
  });

  test("the server's clock runs on the monotonic one", () => {
    const clock = serverClock("2026-11-22T10:00:00Z", 1_000);
    assert.equal(serverTime(clock, 3_500), Date.parse("2026-11-22T10:00:02.500Z"));
    assert.equal(serverClock("nonsense", 0), null);
  });

  test("time left is spoken at a few marks only", () => {
    assert.equal(spokenMark(60_100, 59_900), 60);
    assert.equal(spokenMark(59_900, 59_700), null);
  });
});

describe("state: the line", () => {
  test("ranks fall, and never rise within a connection", () => {
    const rank = (value) => ({ type: "rank", rank: value, total: 20, eta_s: null });
    const state = play(JOINED, rank(7), rank(9));
    assert.equal(state.place.rank, 7);
    assert.equal(playOn(state, { ...JOINED, rank: 12 }).place.rank, 12);
  });

  test("progress starts at the first rank and survives a reload", () => {
    const state = play(JOINED, { type: "rank", rank: 4, total: 9, eta_s: null });
    assert.equal(state.start, 10);
    const reloaded = playOn(initial({ start: state.start }), { ...JOINED, rank: 4 });
    assert.equal(reloaded.start, 10);
    // A place drawn anew starts anew.
    assert.equal(playOn(reloaded, { type: "lapsed", reason: "expired" }, { do: "rejoin" }, { ...JOINED, rank: 99 }).start, 99);
    // A missed one is the same place.
    assert.equal(playOn(reloaded, { type: "lapsed", reason: "missed" }, { do: "rejoin" }, { ...JOINED, rank: 0 }).start, 10);
  });

  test("a grown estimate is owned up to until it is small again", () => {
    const eta = (low, high, rank) => ({ type: "rank", rank, total: 20, eta_s: [low, high] });
    const grown = play(JOINED, eta(200, 400, 9));
    assert.equal(grown.place.slower, true);
    assert.equal(playOn(grown, eta(40, 90, 3)).place.slower, false);
    assert.equal(play(JOINED, eta(60, 130, 9)).place.slower, false);
  });

  test("unknown messages and unknown fields change nothing", () => {
    const state = play(JOINED);
    assert.equal(receive(state, { type: "toString" }, 0), state);
    assert.equal(receive(state, { type: "brand_new", x: 1 }, 0), state);
    assert.equal(play({ ...JOINED, brand_new: 1 }).place.rank, 10);
  });

  test("phase and notice", () => {
    const state = play(JOINED, { type: "phase", phase: "paused", opens_at: null }, { type: "notice", text: "<b>" });
    assert.equal(state.phase, "paused");
    assert.equal(state.notice, "<b>");
    assert.equal(playOn(state, { type: "notice", text: "" }).notice, "");
  });
});

describe("state: the turn", () => {
  test("a grant, claimed by the seat map", () => {
    const state = play(JOINED, { ...GRANTED, at: 1_000 });
    assert.equal(screenOf(state), "granted");
    assert.equal(state.grant.expiresAt, 301_000);
    assert.equal(state.grant.claimAt, 61_000);
    assert.equal(state.grant.claimed, false);
    assert.equal(playOn(state, { type: "seat_map", version: 1, taken: "AA==" }).grant.claimed, true);
    assert.equal(play(JOINED, { ...GRANTED, claim_in_ms: null }).grant.claimed, true);
  });

  test("sent again after a reconnect: new countdown, same choice", () => {
    const state = play(...TURN, { do: "toggle", guid: "A-1-1" }, { ...JOINED, state: "granted", rank: 0 },
      { ...GRANTED, expires_in_ms: 5_000, at: 100 });
    assert.deepEqual(state.picked, ["A-1-1"]);
    assert.equal(state.grant.expiresAt, 5_100);
    assert.equal(state.grant.asked, false);
    assert.deepEqual(playOn(state, { ...GRANTED, token: "other" }).picked, []);
  });

  test("no more seats than allowed, none that is taken", () => {
    const toggles = [0, 1, 2].map((n) => ({ do: "toggle", guid: `A-1-${n}` }));
    const full = play(...TURN, ...toggles);
    assert.deepEqual(full.picked, ["A-1-0", "A-1-1"]);
    assert.equal(full.refusal.reason, "too_many_seats");
    const taken = play(...TURN, { type: "seats_changed", version: 2, taken: [0], freed: [] }, toggles[0]);
    assert.deepEqual(taken.picked, []);
  });

  test("a picked seat that another takes is dropped, and said", () => {
    const state = play(...TURN, { do: "toggle", guid: "A-1-1" }, { type: "seats_changed", version: 2, taken: [1], freed: [] });
    assert.deepEqual(state.picked, []);
    assert.deepEqual(state.lostPicks, ["A-1-1"]);
  });

  test("but not while its own redeem is on the way: that may be us", () => {
    const state = play(...TURN, { do: "toggle", guid: "A-1-1" }, { do: "redeem", request: "r1", seats: ["A-1-1"] },
      { type: "seats_changed", version: 2, taken: [1], freed: [] });
    assert.deepEqual(state.picked, ["A-1-1"]);
  });

  test("a gap in versions asks for the whole map and applies nothing", () => {
    const state = play(...TURN, { do: "seats_asked" }, { type: "seats_changed", version: 3, taken: [0], freed: [] });
    assert.equal(state.map.gap, true);
    assert.equal(state.grant.asked, false);
    assert.equal(state.map.taken[0], 0);
    const asked = playOn(state, { do: "seats_asked" }, { type: "seats_changed", version: 4, taken: [1], freed: [] });
    assert.equal(asked.grant.asked, true, "asked once");
    assert.equal(playOn(asked, { type: "seat_map", version: 4, taken: "Aw==" }).map.gap, false);
  });

  test("changes before the first map of a connection are ignored", () => {
    const state = play(...TURN, { ...JOINED, state: "granted" }, { type: "seats_changed", version: 2, taken: [0], freed: [] });
    assert.equal(state.map.taken[0], 0);
  });
});

describe("state: redeem", () => {
  const SENT = [...TURN, { do: "toggle", guid: "A-1-0" }, { do: "toggle", guid: "A-1-1" },
    { do: "redeem", request: "r1", seats: ["A-1-0", "A-1-1"] }];

  test("seat_taken marks those seats and keeps the others", () => {
    const state = play(...SENT, { type: "refused", request: "r1", reason: "seat_taken", seats: ["A-1-1"], retry: true });
    assert.deepEqual(state.picked, ["A-1-0"]);
    assert.equal(state.map.taken[1], 1);
    assert.equal(state.redeem, null);
    assert.equal(screenOf(state), "granted");
  });

  test("an answer to another request is not this one's", () => {
    const state = play(...SENT, { type: "refused", request: "r0", reason: "busy", retry: true });
    assert.equal(state.redeem.request, "r1");
  });

  test("booked, held, confirmed, released", () => {
    const held = play(...SENT, { ...BOOKING, request: "r1", status: "held", hold_expires_in_ms: 9_000, at: 50 });
    assert.equal(screenOf(held), "held");
    assert.equal(held.booking.holdExpiresAt, 9_050);
    assert.equal(held.grant, null);
    assert.equal(screenOf(playOn(held, BOOKING)), "booked");
    assert.equal(screenOf(playOn(held, { ...BOOKING, status: "released" })), "released");
    assert.equal(playOn(held, BOOKING).bookings.length, 1);
  });

  test("cut off: kept, and to be repeated if the grant still lives", () => {
    const cut = play(...SENT, { do: "link", status: "cut" });
    assert.equal(cut.redeem.lost, true);
    const back = playOn(cut, { ...JOINED, state: "granted", rank: 0 }, GRANTED);
    assert.equal(back.redeem.request, "r1");
    assert.equal(playOn(back, { do: "redeem_repeated" }).redeem.lost, false);
  });

  test("cut off: booked meanwhile", () => {
    const state = play(...SENT, { do: "link", status: "cut" }, { ...JOINED, state: "booked", place: null }, BOOKING);
    assert.equal(screenOf(state), "booked");
    assert.equal(state.redeem, null);
  });

  test("cut off: the turn ended without a booking, and that is said", () => {
    const state = play(...SENT, { do: "link", status: "cut" }, JOINED);
    assert.equal(screenOf(state), "waiting");
    assert.equal(state.refusal.reason, "not_booked");
  });

  test("news of an earlier booking leaves a later turn on the screen", () => {
    const state = play(...SENT, { ...BOOKING, request: "r1" }, { do: "again" }, { ...JOINED, rank: 50 },
      { ...BOOKING, status: "released" });
    assert.equal(screenOf(state), "waiting");
    assert.equal(state.bookings[0].status, "released");
    assert.equal(state.start, 50);
  });

  test("a later grant allows the rest of the visitor's share", () => {
    const state = play(...SENT, { ...BOOKING, request: "r1" }, { do: "again" }, { ...JOINED, rank: 0 }, { ...GRANTED, token: "t2", max_seats: 1 });
    assert.equal(state.maxSeats, 2);
    assert.equal(mayJoinAgain(playOn(state, { do: "redeem", request: "r2", seats: ["A-1-2"] }, { ...BOOKING, booking: "b2", seats: ["A-1-2"], request: "r2" })), false);
  });

  test("joining again is offered below max_seats only", () => {
    const one = play(...SENT, { ...BOOKING, request: "r1" });
    assert.equal(mayJoinAgain(one), true);
    assert.equal(mayJoinAgain(play(...SENT, { ...BOOKING, request: "r1", seats: ["A-1-0", "A-1-1"] })), false);
    assert.equal(mayJoinAgain(playOn(one, { do: "limit" })), false);
  });
});

describe("state: ends", () => {
  test("nobody who is out is joined behind his back", () => {
    for (const reason of ["left", "missed", "expired"]) {
      const out = play(JOINED, { type: "lapsed", reason });
      assert.equal(screenOf(out), "lapsed");
      assert.equal(wantsPlace(out), false);
      assert.equal(wantsPlace(playOn(out, { do: "rejoin" })), true);
    }
    assert.equal(wantsPlace(initial({ left: true })), false);
    assert.equal(wantsPlace(play(JOINED, { do: "stop", stop: "replaced" })), false);
    assert.equal(wantsPlace(play({ do: "elsewhere", elsewhere: "open" })), false);
  });

  test("closed, but a booking stays on the screen", () => {
    assert.equal(screenOf(play(JOINED, { type: "lapsed", reason: "closed" })), "closed");
    assert.equal(screenOf(play({ ...JOINED, state: "booked" }, BOOKING, { do: "stop", stop: "closed" })), "booked");
    assert.equal(screenOf(play({ do: "sale", sale: { phase: "closed" } })), "closed");
  });

  test("used here again after a takeover", () => {
    const state = play(JOINED, { do: "stop", stop: "replaced" });
    assert.equal(screenOf(state), "replaced");
    assert.equal(wantsPlace(playOn(state, { do: "use_here" })), true);
  });
});

describe("closes", () => {
  test("the contract's table", () => {
    for (const [code, stop] of [[1009, "broken"], [4400, "broken"], [4401, "identity"], [4403, "limit"], [4409, "replaced"], [4410, "closed"]]) {
      assert.equal(verdict(code).stop, stop);
    }
    for (const code of [1001, 1006, 1011, 1012, 4408, 4429, 4503]) assert.equal(verdict(code).stop, undefined);
    assert.equal(verdict(4429).pace, "slower");
    assert.equal(verdict(1006, "replaced").stop, "replaced");
    assert.equal(verdict(4503, "replaced").stop, undefined);
  });

  test("delays are jittered, bounded, and follow a drain's own spread", () => {
    const at = (random, attempt, pace = "normal", afterMs = null) => delayMs({ pace, attempt, afterMs, random: () => random });
    assert.ok(at(0, 0) >= 250);
    assert.ok(at(1, 20) <= 30_250);
    assert.ok(at(1, 3) > at(0, 3));
    assert.ok(at(0, 0, "slower") >= 10_000);
    assert.equal(at(0, 0, "drain", 4_000), 4_000);
  });
});

/** A socket and a clock that the test drives. */
function rig({ hello = () => ({ type: "join" }) } = {}) {
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
    url: "ws://x", hello,
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

  test("a drain's after_ms is followed", () => {
    const { connection, seen, open, last, pass } = rig();
    connection.start();
    open();
    last().onmessage({ data: '{"type":"reconnect","after_ms":7000}' });
    last().onclose({ code: 1012 });
    pass(6_900);
    assert.equal(seen.sockets.length, 1);
    pass(1_000);
    assert.equal(seen.sockets.length, 2);
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

describe("tabs", () => {
  const hall = () => {
    const channels = [];
    return () => {
      const channel = { onmessage: null, postMessage: (data) => queueMicrotask(() => channels.filter((other) => other !== channel).forEach((other) => other.onmessage?.({ data }))) };
      channels.push(channel);
      return channel;
    };
  };
  const tab = (makeChannel, born) => new Tabs("s", { onFree() {}, onLook() {}, makeChannel, born });

  test("the holder answers, an empty browser does not", async () => {
    const makeChannel = hall();
    const first = tab(makeChannel, 1);
    assert.equal(await first.takenElsewhere(), false);
    first.hold();
    assert.equal(await tab(makeChannel, 2).takenElsewhere(), true);
  });

  test("of two that ask together the older wins", async () => {
    const makeChannel = hall();
    const [a, b] = [tab(makeChannel, 1), tab(makeChannel, 2)];
    assert.deepEqual(await Promise.all([a.takenElsewhere(), b.takenElsewhere()]), [false, true]);
  });
});

describe("store and words", () => {
  test("remembers per sale, and lives without storage", () => {
    const area = new Map();
    const fake = { getItem: (key) => area.get(key) ?? null, setItem: (key, value) => area.set(key, value), removeItem: (key) => area.delete(key) };
    openStore("a", fake, fake).setPlace("k1.p");
    assert.equal(openStore("a", fake, fake).place(), "k1.p");
    assert.equal(openStore("b", fake, fake).place(), null);
    const without = openStore("a", null, null);
    assert.equal(without.lasting, false);
    without.setPlace("k1.q");
    assert.equal(without.place(), "k1.q");
  });

  test("both languages have the same words", () => {
    assert.deepEqual(Object.keys(ko).sort(), Object.keys(en).sort());
    for (const key of Object.keys(en)) assert.equal(typeof ko[key] === "string" || typeof en[key] === "string" || typeof ko[key] === typeof en[key], true, key);
  });

  test("the language follows the choice, then the browser", () => {
    assert.equal(chooseLanguage("en", ["ko-KR"]), "en");
    assert.equal(chooseLanguage(null, ["ja", "ko-KR"]), "ko");
    assert.equal(chooseLanguage(null, ["ja"]), "en");
  });
});

describe("pages", () => {
  const folder = new URL("../../static/", import.meta.url);
  const files = readdirSync(folder);
  const text = (name) => readFileSync(new URL(name, folder), "utf8");

  test("every module of the room is loaded in one round", () => {
    const wanted = files.filter((name) => name.endsWith(".mjs") && name !== "sales.mjs" && name !== "room.mjs");
    const preloaded = [...text("room.html").matchAll(/modulepreload" href="\/static\/([^"]+)"/g)].map((match) => match[1]);
    assert.deepEqual(preloaded.sort(), wanted.sort());
  });

  test("nothing inline, nothing from elsewhere, so that the strict CSP holds", () => {
    for (const name of files) {
      const source = text(name);
      assert.doesNotMatch(source.replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\//, name);
      assert.doesNotMatch(source, /innerHTML|insertAdjacentHTML|setAttribute\("style"|\beval\(/, name);
      if (name.endsWith(".html")) assert.doesNotMatch(source, /style=|onclick=|<style|<script(?![^>]* src=)/, name);
    }
  });
});
