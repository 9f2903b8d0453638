// What the page knows, as one value, and the two pure functions that change it:
//   receive(state, message, at)  a message of the server (contract §4)
//   act(state, action, at)       what the visitor, the link or the browser did
// `at` is performance.now(). No I/O here: room.mjs looks at the new state and does what follows.

import { applyChanges, decodeTaken } from "./bitmap.mjs";
import { serverClock } from "./clock.mjs";

const CHOICE = { mode: "pick", count: 2, category: "", together: true };

/** @param remembered what store.mjs kept: { hadPlace, start, bookings, maxSeats, left, picks } */
export function initial(remembered = {}) {
  return {
    link: { status: "idle", via: null, why: null, since: 0, cuts: 0 },
    hadPlace: remembered.hadPlace ?? false, // this browser keeps the token of a place
    stop: null, // "identity" | "other" | "limit" | "removed" | "replaced" | "closed" | "broken" | "unknown"
    elsewhere: null, // "open": another tab holds the place; "stay": the visitor chose that tab
    error: null,
    sale: null, // GET /v1/sales/{sale}
    phase: null,
    opensAt: null,
    clock: null,
    notice: "",
    outageSince: null, // a store does not answer: nobody is let in, nothing can be booked
    place: null, // { state, rank, total, eta, etaAt, lowestHigh, slower, movedAt }
    start: remembered.start ?? null,
    freshPlace: remembered.start == null,
    again: false, // the next join asks for another place after a booking
    grant: null, // { token, expiresAt, claimAt, claimed, asked, maxSeats }
    maxSeats: remembered.maxSeats ?? null,
    plan: null,
    planFailed: false,
    map: null, // { version, taken, gap }
    picked: [], // seat_guids, in the order of picking
    keptPicks: remembered.picks ?? null, // { token, picked, choice }: before a reload, or of another tab
    choice: CHOICE, // how to choose: by picking, or what of the best
    lostPicks: [], // picked seats that others took meanwhile
    redeem: null, // { request, seats | best, lost }: sent and not yet answered
    refusal: null, // { reason, seats, retry }
    booking: null, // the one on the screen
    bookings: remembered.bookings ?? [], // all known, oldest first
    lapsed: remembered.left ? { reason: "left", busy: false } : null,
  };
}

const ON_MESSAGE = {
  joined, rank, granted, lapsed, booking, refused,
  seat_map: seatMap,
  seats_changed: seatsChanged,
  phase: (state, { phase, opens_at }) => ({ ...state, phase, opensAt: opens_at ?? null }),
  notice: (state, { text }) => ({ ...state, notice: text ?? "" }),
  outage: (state, { on }, at) => ({ ...state, outageSince: on ? state.outageSince ?? at : null }),
  error: (state, { code, message }) => ({ ...state, error: { code, message } }),
};

/** Unknown types are newer than this page and change nothing. */
export function receive(state, message, at) {
  return Object.hasOwn(ON_MESSAGE, message.type) ? ON_MESSAGE[message.type](state, message, at) : state;
}

function joined(state, message, at) {
  const waiting = message.state === "waiting";
  const start = state.freshPlace || state.start === null ? message.rank : Math.max(state.start, message.rank);
  const next = {
    ...state,
    stop: null, elsewhere: null, error: null, lapsed: null, again: false,
    hadPlace: true,
    phase: message.phase,
    opensAt: message.opens_at ?? null,
    clock: serverClock(message.now, at) ?? state.clock,
    place: placeOf(message, waiting ? state.place : null, at),
    start: waiting ? start : state.start,
    freshPlace: waiting ? false : state.freshPlace,
    map: state.map && { ...state.map, version: null, gap: false },
  };
  if (message.state === "granted") return next;
  // The grant is gone. A try that was cut off ends here too, unless the booking is about to follow.
  const booked = message.state === "booked";
  const missedAnswer = !booked && state.redeem !== null;
  return {
    ...next,
    grant: null, picked: [], lostPicks: [],
    redeem: booked ? state.redeem : null,
    refusal: missedAnswer ? { reason: "not_booked", seats: [], retry: false } : null,
    booking: booked ? state.booking : null,
  };
}

function placeOf({ state, rank, total, eta_s }, before, at) {
  return withEta({
    state, rank, total,
    lowestHigh: before?.lowestHigh ?? null,
    slower: before?.slower ?? false,
    movedAt: before && before.rank === rank ? before.movedAt : at,
    heardAt: at,
  }, eta_s, at);
}

/** Remembers the best estimate so far, so that a grown one is owned up to. */
function withEta(place, eta, at) {
  const high = eta?.[1] ?? null;
  if (high === null) return { ...place, eta: null, etaAt: null };
  const lowest = place.lowestHigh === null ? high : Math.min(place.lowestHigh, high);
  const grown = high > lowest * 1.2 + 30;
  return { ...place, eta, etaAt: at, lowestHigh: lowest, slower: grown || (place.slower && high > lowest + 15) };
}

function rank(state, message, at) {
  const { place } = state;
  // Within a connection a rank never rises; only a fresh `joined` may say more.
  if (place?.state !== "waiting" || message.rank > place.rank) return state;
  const movedAt = message.rank < place.rank ? at : place.movedAt;
  return {
    ...state,
    place: withEta({ ...place, rank: message.rank, total: message.total, movedAt, heardAt: at }, message.eta_s, at),
  };
}

function granted(state, message, at) {
  const same = state.grant?.token === message.token;
  const kept = state.keptPicks?.token === message.token ? state.keptPicks : {};
  const picked = same ? state.picked : kept.picked ?? [];
  const claimed = message.claim_in_ms === null || message.claim_in_ms === undefined;
  return dropTakenPicks({
    ...state,
    place: { ...(state.place ?? { total: 0, eta: null }), state: "granted", rank: 0 },
    lapsed: null,
    grant: {
      token: message.token,
      expiresAt: at + message.expires_in_ms,
      claimAt: claimed ? null : at + message.claim_in_ms,
      claimed,
      asked: false,
      maxSeats: message.max_seats,
    },
    // A grant allows what is left of the visitor's share; the share itself is what decides later
    // whether to offer another turn. Guessed too high, the server's 4403 corrects it.
    maxSeats: message.max_seats + seatsBooked(state),
    picked, keptPicks: null,
    choice: same ? state.choice : { ...CHOICE, ...kept.choice },
    lostPicks: same ? state.lostPicks : [],
    redeem: same ? state.redeem : null,
    refusal: same ? state.refusal : null,
    booking: null,
  });
}

function lapsed(state, { reason }) {
  return {
    ...state,
    place: null, grant: null, picked: [], lostPicks: [], redeem: null, refusal: null, again: false,
    stop: reason === "closed" ? "closed" : state.stop,
    lapsed: { reason, busy: false },
    // A missed place is kept; any other end means that the next one starts its own progress.
    freshPlace: reason !== "missed" || state.freshPlace,
  };
}

function seatMap(state, { version, taken }) {
  const grant = state.grant && { ...state.grant, claimed: true };
  return dropTakenPicks({ ...state, grant, map: { version, taken: decodeTaken(taken), gap: false } });
}

function seatsChanged(state, { version, taken, freed }) {
  const { map } = state;
  // Before the first map, or between a gap and the new map, there is nothing to apply this to.
  if (!map || map.version === null || map.gap || version <= map.version) return state;
  if (version !== map.version + 1) {
    return { ...state, map: { ...map, gap: true }, grant: state.grant && { ...state.grant, asked: false } };
  }
  return dropTakenPicks({ ...state, map: { version, gap: false, taken: applyChanges(map.taken, taken, freed) } });
}

/** While a redeem is on its way its seats may show as taken: by ourselves. The answer decides. */
function dropTakenPicks(state) {
  if (state.redeem || !state.plan || !state.map) return state;
  const gone = state.picked.filter((guid) => isTaken(state, guid));
  if (gone.length === 0) return state;
  return {
    ...state,
    picked: state.picked.filter((guid) => !gone.includes(guid)),
    lostPicks: [...state.lostPicks, ...gone],
  };
}

export function isTaken({ plan, map }, guid) {
  const seat = plan?.byGuid.get(guid);
  return seat !== undefined && map?.taken[seat.index] === 1;
}

function refused(state, { request, reason, seats = [], retry }) {
  if (request === "seats") {
    // The turn ended while the question was on its way; `lapsed` says the rest.
    return state.grant ? { ...state, grant: { ...state.grant, asked: true } } : state;
  }
  if (request === "leave") return !state.grant || state.redeem ? state : { ...state, refusal: { reason: "leave", seats: [], retry } };
  if (state.redeem?.request !== request) return state;
  const next = { ...state, redeem: null, refusal: { reason, seats, retry } };
  if (reason !== "seat_taken" && reason !== "unknown_seat") return next;
  const indices = seats.map((guid) => state.plan?.byGuid.get(guid)?.index).filter((i) => i !== undefined);
  return {
    ...next,
    picked: state.picked.filter((guid) => !seats.includes(guid)),
    map: state.map && { ...state.map, taken: applyChanges(state.map.taken, indices, []) },
  };
}

function booking(state, message, at) {
  const holds = message.status === "held" && typeof message.hold_expires_in_ms === "number";
  const entry = {
    id: message.booking,
    seats: message.seats,
    status: message.status,
    together: message.together ?? null,
    holdExpiresAt: holds ? at + message.hold_expires_in_ms : null,
  };
  const known = state.bookings.find(({ id }) => id === entry.id);
  const answer = state.redeem !== null && message.request === state.redeem.request;
  // Who chose the seats: only this page knows it, and a reload has it from the list that it kept.
  entry.best = known?.best ?? (answer && state.redeem.best !== undefined);
  const bookings = known
    ? state.bookings.map((other) => (other.id === entry.id ? entry : other))
    : [...state.bookings, entry];
  const shown = state.booking?.id ?? entry.id;
  const older = bookings.findIndex(({ id }) => id === entry.id) < bookings.findIndex(({ id }) => id === shown);
  const current = answer || shown === entry.id && state.booking !== null || (state.place?.state === "booked" && !older);
  // News of an earlier booking must not push the line, a running turn or a later booking off the screen.
  if (!current) return { ...state, bookings };
  return {
    ...state,
    bookings, booking: entry,
    place: { ...(state.place ?? { total: 0, eta: null, rank: 0 }), state: "booked" },
    grant: null, picked: [], lostPicks: [], redeem: null, refusal: null, lapsed: null,
    freshPlace: true,
  };
}

const ON_ACTION = {
  sale: (state, { sale }) => ({
    ...state, sale,
    // The socket knows better, once it has spoken.
    phase: state.clock ? state.phase : sale.phase,
    opensAt: state.clock ? state.opensAt : (sale.opens_at ?? null),
    stop: sale.phase === "closed" && !state.clock ? "closed" : state.stop,
  }),
  plan: (state, { plan }) => dropTakenPicks({ ...state, plan, planFailed: false }),
  plan_failed: (state) => ({ ...state, planFailed: true }),
  link: (state, { status, via = null, why = null }, at) => ({
    ...state,
    link: { status, via, why, since: at, cuts: status === "cut" ? state.link.cuts + 1 : status === "live" ? 0 : state.link.cuts },
    // The server tells a notice and an outage anew on each link; what ended while there was none must not stay.
    notice: status === "live" ? "" : state.notice,
    outageSince: status === "live" ? null : state.outageSince,
    // What was on its way may or may not have arrived; it is repeated if the grant still lives.
    redeem: status === "live" || !state.redeem ? state.redeem : { ...state.redeem, lost: true },
  }),
  stop: (state, { stop }) => ({ ...state, stop }),
  // The server knows of bookings that this browser may not: no more offers to join again.
  limit: (state) => ({ ...state, again: false, maxSeats: seatsBooked(state) }),
  // What this browser remembered was another visitor's.
  another: (state) => ({
    ...state, bookings: [], maxSeats: null, keptPicks: null,
    start: state.place?.state === "waiting" ? state.place.rank : null,
  }),
  elsewhere: (state, { elsewhere }) => ({ ...state, elsewhere }),
  // What another tab chose in this turn meanwhile is chosen here.
  use_here: (state, { picks }) => ({ ...state, elsewhere: null, stop: null, grant: null, picked: [], redeem: null, keptPicks: picks }),
  choose: (state, { choice }) => ({ ...state, choice: { ...state.choice, ...choice } }),
  seats_asked: (state) => ({ ...state, grant: state.grant && { ...state.grant, asked: true } }),
  toggle: (state, { guid }) => toggle(state, guid),
  redeem: (state, { request, seats, best }) => ({
    ...state, refusal: null, lostPicks: [],
    redeem: seats ? { request, seats, lost: false } : { request, best, lost: false },
  }),
  redeem_lost: (state) => ({ ...state, redeem: state.redeem && { ...state.redeem, lost: true } }),
  redeem_repeated: (state) => ({ ...state, redeem: state.redeem && { ...state.redeem, lost: false } }),
  again: (state) => ({ ...state, again: true, freshPlace: true }),
  rejoin: (state) => ({ ...state, lapsed: state.lapsed && { ...state.lapsed, busy: true } }),
};

export function act(state, action, at) {
  return ON_ACTION[action.type](state, action, at);
}

function toggle(state, guid) {
  if (!state.grant || state.redeem) return state;
  if (state.picked.includes(guid)) {
    return { ...state, refusal: null, picked: state.picked.filter((other) => other !== guid) };
  }
  if (isTaken(state, guid)) return state;
  if (state.picked.length >= state.grant.maxSeats) {
    return { ...state, refusal: { reason: "all_picked", seats: [], retry: true } };
  }
  return { ...state, refusal: null, lostPicks: [], picked: [...state.picked, guid] };
}

/** Seats of the visitor's bookings that still count. */
export function seatsBooked({ bookings }) {
  return bookings.reduce((sum, { seats, status }) => sum + (status === "released" ? 0 : seats.length), 0);
}

export function atLimit(state) {
  return state.maxSeats !== null && seatsBooked(state) >= state.maxSeats;
}

export function mayJoinAgain(state) {
  return state.phase !== "closed" && state.stop === null && !atLimit(state);
}

/** Whether going away now would lose what the visitor has chosen in his turn. */
export function hasChosen({ grant, picked, redeem, stop, elsewhere }) {
  return grant !== null && stop === null && elsewhere === null && (picked.length > 0 || redeem !== null);
}

/** Whether a (re)connect should send `join`: never behind the back of someone who is out. */
export function wantsPlace(state) {
  if (state.stop || state.elsewhere) return false;
  return state.lapsed === null || state.lapsed.busy;
}

/** What a visitor who is cut off has on the server meanwhile; null where this page cannot know. */
export function keptWhile(state, at) {
  if (state.lapsed) return state.lapsed.reason === "missed" ? "line" : null;
  if (state.grant) return at < (state.grant.claimed ? state.grant.expiresAt : state.grant.claimAt) ? "turn" : null;
  if (state.place?.state === "waiting") return "line";
  if (state.booking?.status === "held") return at < (state.booking.holdExpiresAt ?? Infinity) ? "held" : null;
  if (state.booking) return state.booking.status === "confirmed" ? "booked" : null;
  return state.hadPlace ? null : "none";
}

/** Whether the visitor is the next to be let in: only where anyone is. */
export function isNext({ place, phase, link, outageSince }) {
  return place?.rank === 0 && phase === "open" && link.status === "live" && outageSince === null;
}

const STILL_AFTER_MS = 90_000;
/** An estimate that the line has outlived by so much was wrong. */
const ETA_LATE_MS = 15_000;
/** Without an estimate: as old as the newest rank may be, and a little. */
const NO_ETA_STILL_MS = 15_000;
const NO_ETA_STILL_FAR_MS = 40_000;
const RANK_FAR = 1_000;

/** Since when the line has stood still, in ms, where that is what the visitor should know; or null. */
export function stillFor({ place }, at) {
  const still = at - place.movedAt;
  if (place.eta) return still > STILL_AFTER_MS || at - place.etaAt > place.eta[1] * 1000 + ETA_LATE_MS ? still : null;
  return still > (place.rank < RANK_FAR ? NO_ETA_STILL_MS : NO_ETA_STILL_FAR_MS) ? still : null;
}

/** The one word for what is on the screen; also <body data-state>. */
export function screenOf(state) {
  if (state.elsewhere) return "elsewhere";
  if (state.booking && !["replaced", "removed"].includes(state.stop) && state.place?.state !== "waiting") {
    return state.booking.status === "confirmed" ? "booked" : state.booking.status;
  }
  if (state.stop) return state.stop;
  if (state.lapsed) return "lapsed";
  if (state.grant) return "granted";
  if (state.place && state.place.state !== "booked") return "waiting";
  return "loading";
}
