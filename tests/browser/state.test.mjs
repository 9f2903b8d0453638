// What the page knows and how messages and clicks change it, without a browser.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { countdown } from "../../static/clock.mjs";
import { act, hasChosen, initial, isNext, keptWhile, mayJoinAgain, receive, screenOf, stillFor, wantsPlace } from "../../static/state.mjs";
import { BOOKING, GRANTED, JOINED, PLAN } from "./samples.mjs";

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
    const cut = playOn(state, { do: "link", status: "cut" });
    assert.equal(cut.notice, "<b>");
    assert.equal(playOn(cut, { do: "link", status: "live" }).notice, "", "the server tells it anew, if it still stands");
  });
});

describe("state: only what is so", () => {
  const LIVE = { do: "link", status: "live" };

  test("next is who stands first in a sale that admits, and knows it", () => {
    const first = { ...JOINED, rank: 0 };
    assert.equal(isNext(play(first, LIVE)), true);
    for (const phase of ["scheduled", "paused", "all_held", "sold_out"]) assert.equal(isNext(play({ ...first, phase }, LIVE)), false);
    assert.equal(isNext(play(first, LIVE, { do: "link", status: "cut" })), false);
    assert.equal(isNext(play(JOINED, LIVE)), false);
  });

  test("a kept place is promised to those who have one", () => {
    assert.equal(keptWhile(initial()), "none");
    assert.equal(keptWhile(initial({ hadPlace: true })), null);
    assert.equal(keptWhile(play(JOINED)), "line");
    const { expiresAt } = play(...TURN).grant;
    assert.equal(keptWhile(play(...TURN), expiresAt - 1), "turn");
    assert.equal(keptWhile(play(...TURN), expiresAt), null);
    const unclaimed = play(JOINED, GRANTED);
    assert.deepEqual([unclaimed.grant.claimAt - 1, unclaimed.grant.claimAt].map((at) => keptWhile(unclaimed, at)), ["turn", null]);
    const booked = (fields) => play({ ...JOINED, state: "booked" }, { ...BOOKING, ...fields });
    assert.equal(keptWhile(booked({}), 0), "booked");
    assert.equal(keptWhile(booked({ status: "held", hold_expires_in_ms: 9 }), 8), "held");
    assert.equal(keptWhile(booked({ status: "held", hold_expires_in_ms: 9 }), 9), null);
    assert.equal(keptWhile(booked({ status: "released" }), 0), null);
    const lapsed = (reason) => keptWhile(play(JOINED, { type: "lapsed", reason }), 0);
    assert.deepEqual(["missed", "expired", "left"].map(lapsed), ["line", null, null]);
  });

  test("an estimate that the line has outlived is taken back", () => {
    const soon = play({ ...JOINED, rank: 3, eta_s: [1, 2] });
    assert.equal(stillFor(soon, 10_000), null);
    assert.equal(stillFor(soon, 20_000), 20_000);
    assert.equal(stillFor(playOn(soon, { type: "rank", rank: 2, total: 9, eta_s: [1, 2], at: 19_000 }), 20_000), null);
  });

  test("without an estimate a line that does not move stands still", () => {
    const silent = play({ ...JOINED, eta_s: null });
    assert.equal(stillFor(silent, 5_000), null);
    assert.equal(stillFor(silent, 16_000), 16_000);
    assert.equal(stillFor(play({ ...JOINED, rank: 5_000, eta_s: null }), 16_000), null);
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
    assert.equal(full.refusal.reason, "all_picked");
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

  test("news of an earlier booking leaves a later one on the screen", () => {
    const later = { ...BOOKING, booking: "b2", seats: ["A-1-2"], status: "held", hold_expires_in_ms: 9_000 };
    const state = play({ ...JOINED, state: "booked" }, { ...BOOKING, status: "held" }, later, BOOKING);
    assert.deepEqual([screenOf(state), state.booking.id, state.bookings[0].status], ["held", "b2", "confirmed"]);
  });

  test("a turn that could not be given up goes on, and that is said", () => {
    const state = play(...TURN, { type: "refused", request: "leave", reason: "busy", retry: true });
    assert.deepEqual([screenOf(state), state.refusal.reason], ["granted", "leave"]);
    const refused = { type: "refused", request: "leave", reason: "busy", retry: true };
    assert.equal(play(JOINED, refused).refusal, null);
    assert.equal(play(...SENT, refused).redeem.request, "r1");
  });

  test("what was remembered of another visitor is forgotten", () => {
    const state = playOn(initial({ bookings: [BOOKING], start: 90, maxSeats: 2 }), JOINED, { do: "another" });
    assert.deepEqual([state.bookings, state.maxSeats, state.start], [[], null, 10]);
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

  test("who was removed reads so, whatever he holds", () => {
    assert.equal(screenOf(play({ ...JOINED, state: "booked" }, { ...BOOKING, status: "held" }, { do: "stop", stop: "removed" })), "removed");
  });

  test("closed, but a booking stays on the screen", () => {
    assert.equal(screenOf(play(JOINED, { type: "lapsed", reason: "closed" })), "closed");
    assert.equal(screenOf(play({ ...JOINED, state: "booked" }, BOOKING, { do: "stop", stop: "closed" })), "booked");
    assert.equal(screenOf(play({ do: "sale", sale: { phase: "closed" } })), "closed");
  });

  test("whether seats were chosen by the server is remembered with the booking", () => {
    const book = (what) => playOn(play(...TURN), { do: "redeem", request: "r1", ...what }, { ...BOOKING, request: "r1" });
    assert.equal(book({ best: { count: 2 } }).booking.best, true);
    assert.equal(book({ seats: ["A-1-0"] }).booking.best, false);
    const kept = JSON.parse(JSON.stringify(book({ best: { count: 2 } }).bookings));
    assert.equal(playOn(initial({ bookings: kept }), { ...JOINED, state: "booked" }, BOOKING).booking.best, true);
    assert.equal(play({ ...JOINED, state: "booked" }, BOOKING).booking.best, false, "nobody knows");
  });

  test("used here again after a takeover, with what the other tab chose", () => {
    const chosen = playOn(play(...TURN), { do: "toggle", guid: "A-1-0" }, { do: "stop", stop: "replaced" });
    assert.equal(hasChosen(chosen), false, "it is the other tab's now");
    const picks = { token: GRANTED.token, picked: ["A-1-1"], choice: { mode: "best", count: 3 } };
    const back = playOn(chosen, { do: "use_here", picks }, JOINED, GRANTED);
    assert.deepEqual(back.picked, ["A-1-1"]);
    assert.deepEqual(back.choice, { mode: "best", count: 3, category: "", together: true });
  });

  test("used here again after a takeover", () => {
    const state = play(JOINED, { do: "stop", stop: "replaced" });
    assert.equal(screenOf(state), "replaced");
    assert.equal(wantsPlace(playOn(state, { do: "use_here", picks: null })), true);
  });
});
