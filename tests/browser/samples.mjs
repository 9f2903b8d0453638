// A small hall and the messages of one visit, for the tests without a browser.

import { readPlan } from "../../static/plan.mjs";

export const PLAN = readPlan({
  name: "hall",
  categories: [{ name: "VIP", color: "#8E44AD" }],
  zones: [{
    name: "A", position: { x: 0, y: 0 },
    rows: [{ row_number: "1", position: { x: 0, y: 0 }, seats: [0, 1, 2, 3].map((n) => ({
      seat_guid: `A-1-${n}`, seat_number: String(n), position: { x: n * 25, y: 0 }, category: "VIP",
    })) }],
  }],
});
export const JOINED = {
  type: "joined", place: "k1.p", state: "waiting", rank: 10, total: 20, eta_s: [60, 120],
  phase: "open", opens_at: null, now: "2026-11-22T10:00:00Z", epoch: 1,
};
export const GRANTED = { type: "granted", token: "k1.t", expires_in_ms: 300_000, claim_in_ms: 60_000, max_seats: 2 };
export const BOOKING = { type: "booking", booking: "b1", seats: ["A-1-0"], status: "confirmed", together: true };
