// The waiting-room page: wires the pure state to the socket, the store, the tabs and the screen.
// Everything that happens ends in `change`, and `follow` does what the new state calls for.

import { api, broughtIdentity, early, joinMessage, store, tabs, takenElsewhere, socketUrl } from "./first.mjs";
import { announceTurn, setTitle } from "./attention.mjs";
import { Connection, watchWaking } from "./connection.mjs";
import { chooseLanguage, number, t } from "./i18n.mjs";
import { PollingSocket } from "./polling.mjs";
import { saveProof } from "./receipt.mjs";
import { act, hasChosen, initial, isNext, receive, screenOf, wantsPlace } from "./state.mjs";
import { Frame } from "./view.mjs";

const TICK_MS = 250;
/** The plan is fetched while still in line, by those whose turn is near: not by all at once. */
const PLAN_RANK = 500;
const PLAN_SPREAD_MS = 10_000;
const RETRY_MS = 4_000;
/** What the operator changed is asked for within this: not by all at once. */
const SALE_SPREAD_MS = 5_000;
/** How often a page of a closed sale asks what became of a hold. */
const HOLD_POLL_MS = 5_000;
/** A plan that the browser has may be of a sale that was deleted, and made anew under the same name. */
const ASKED_ANEW = { cache: "no-cache" };

let identity = broughtIdentity;
let placeRefused = false;
let joinSent = early?.join ?? {};
/** Whether the visitor touched the page since the turn came (a turn must not claim itself). */
let acted = false;
let planAsked = false;
let wasGranted = false;
/** The visitor has said that he leaves, and was not heard yet. */
let leaving = false;
let lastFailureCheck = -Infinity;

chooseLanguage();
let state = initial({
  hadPlace: store.place() !== null,
  start: store.start(),
  // Old countdowns belong to another page's clock.
  bookings: store.bookings().map((booking) => ({ ...booking, holdExpiresAt: null })),
  maxSeats: store.maxSeats(),
  left: store.left(),
  picks: store.picks(),
});

const connection = new Connection({
  url: socketUrl,
  makePolling: () => new PollingSocket(api),
  hello,
  onMessage: (message, at) => {
    const before = state;
    change(receive(state, message, at), message);
    // In a turn, and asked for by nobody here: whether it was this turn's, the server alone knows, and says to who joins.
    if (message.type === "booking" && before.grant && !message.request && !before.bookings.some(({ id }) => id === message.booking)) connection.start();
  },
  onLink: (link) => {
    change(act(state, { type: "link", ...link }, performance.now()));
    if (link.status === "live" && leaving) leave();
    if (link.status === "cut") checkSale();
  },
  onStop: stopped,
  work,
});
tabs.onFree = () => { if (state.elsewhere) useHere(); };
tabs.onLook = () => setTitle(state.sale?.name ?? "", t(heading(screenOf(state))));
const frame = new Frame(document.getElementById("room"), {
  leave,
  rejoin: () => join({ type: "rejoin" }),
  again: () => join({ type: "again" }),
  claim: () => { acted = true; follow(); },
  toggle: (guid) => dispatch({ type: "toggle", guid }),
  choose: (choice) => dispatch({ type: "choose", choice }),
  redeemPicked: () => redeem({ seats: state.picked }),
  redeemBest: (best) => redeem({ best }),
  useHere,
  stayElsewhere: () => {
    tabs.point();
    dispatch({ type: "elsewhere", elsewhere: "stay" });
  },
  startAnew: () => {
    store.setPlace(null);
    useHere();
  },
  keepPlace,
  useLink: () => {
    placeRefused = true;
    useHere();
  },
  hasPlace: () => store.place() !== null,
  saveReceipt: () => saveProof(api, store.place(), pause),
  reload: () => location.reload(),
}, { lasting: store.lasting });

function dispatch(action) {
  change(act(state, action, performance.now()));
}

function change(next, message = null) {
  const before = state;
  state = next;
  if (message) remember(message, before);
  const { grant, picked, choice } = state;
  if (grant && (picked !== before.picked || choice !== before.choice)) store.setPicks({ token: grant.token, picked, choice });
  // The server tells no new name; but who changes one changes more, and a connection that is new may have missed it.
  if (message?.type === "phase" || (message?.type === "joined" && before.clock)) reloadSale();
  follow(before);
  frame.update(state, performance.now());
}

/** What the browser keeps; written before the page acts on it. */
function remember({ type, place }, before) {
  if (type === "joined") {
    if (place) store.setPlace(place);
    store.setLeft(false);
    if (placeRefused) forgetAnother();
    placeRefused = false;
    // From here on the place token is proof enough, and the identity may expire.
    identity = null;
    if (location.hash) history.replaceState(null, "", location.pathname);
  }
  if (["lapsed", "refused", "booking"].includes(type)) leaving = false;
  if (type === "lapsed") store.setLeft(state.lapsed.reason === "left");
  if (["joined", "rank", "lapsed", "booking"].includes(type)) store.setStart(state.freshPlace ? null : state.start);
  if (before.grant && !state.grant && ["lapsed", "booking"].includes(type)) store.setPicks(null);
  if (type === "booking") store.setBookings(state.bookings);
  if (type === "granted") store.setMaxSeats(state.maxSeats);
}

/** The place that was stored here was another visitor's, and so was all else. */
function forgetAnother() {
  state = act(state, { type: "another" });
  store.setBookings([]);
  store.setMaxSeats(null);
  store.setPicks(null);
}

function follow(before = state) {
  const { grant, redeem: sent, place } = state;
  const live = state.link.status === "live";
  if (grant && !wasGranted) {
    acted = false;
    announceTurn(state.sale?.name ?? "");
  }
  wasGranted = grant !== null;
  if (grant && live && !grant.asked && (grant.claimed || acted || document.visibilityState === "visible")) {
    if (connection.send({ type: "seats" })) state = act(state, { type: "seats_asked" });
  }
  // Cut off while booking: the same request again is safe, a token books once.
  if (grant && live && sent?.lost && grant !== before.grant) {
    if (connection.send(redeemMessage(sent))) state = act(state, { type: "redeem_repeated" });
  }
  if (grant || state.booking) fetchPlan(0);
  else if (place && place.rank < PLAN_RANK && ["open", "scheduled"].includes(state.phase)) fetchPlan(Math.random() * PLAN_SPREAD_MS);
  title();
}

let shownTitle = null;
function title() {
  const name = state.sale?.name ?? "";
  const screen = screenOf(state);
  const plain = screen === "waiting" ? [rankWords(), name].filter(Boolean).join(" · ") : name || t(heading(screen));
  const key = `${screen}|${plain}`;
  if (key === shownTitle) return;
  shownTitle = key;
  const alert = { granted: "turn_alert", lapsed: state.lapsed?.reason === "missed" ? "missed_title" : null }[screen];
  setTitle(plain, alert ? t(alert) : null);
}

/** What a page whose sale has no name (yet) is called. */
function heading(screen) {
  return screen === "lapsed" ? `${state.lapsed.reason}_title` : `${screen}_title`;
}

function rankWords() {
  const { rank } = state.place;
  return isNext(state) ? t("next") : rank === 0 ? t("ahead_none") : t("ahead", { count: number(rank) });
}

function hello() {
  if (!wantsPlace(state)) return null;
  joinSent = joinMessage({ identity, place: placeRefused ? null : store.place(), again: state.again });
  return joinSent;
}

/** Again, or back after a lapse: on the living socket, else with a new one. */
function join(action) {
  leaving = false;
  store.setLeft(false);
  dispatch(action);
  if (!connection.live || !connection.send(hello())) connection.start();
}

function stopped(word) {
  const refused = word === "identity" && joinSent.identity;
  if (refused && placeRefused) {
    // The link is no good: what this browser has stays.
    keepPlace();
  } else if (word === "limit" && state.booking && state.again) {
    dispatch({ type: "limit" });
    connection.start();
  } else {
    // Who goes on elsewhere is not followed there by another tab of this browser.
    tabs.release({ quietly: word === "replaced" });
    // Nobody's place is given up for a link that somebody may have sent him.
    dispatch({ type: "stop", stop: refused && joinSent.place ? "other" : word });
    if (word === "closed") watchBooking();
  }
}

function keepPlace() {
  identity = null;
  placeRefused = false;
  history.replaceState(null, "", location.pathname);
  useHere();
}

function redeem(what) {
  dispatch({ type: "redeem", request: newId(), ...what });
  if (!connection.send(redeemMessage(state.redeem))) dispatch({ type: "redeem_lost" });
}

/** Said again on a new connection until it is heard: a socket may be dead, and nobody know it yet. */
function leave() {
  leaving = true;
  connection.send({ type: "leave" });
}

function redeemMessage({ request, seats, best }) {
  return { type: "redeem", request, token: state.grant.token, ...(seats ? { seats } : { best }) };
}

/** crypto.randomUUID needs a secure context, which a demo in a LAN has not. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Done beside the page, which must not stand still meanwhile. */
function work(asked) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./work.js", import.meta.url));
    const over = (settle) => (event) => {
      worker.terminate();
      settle(event.data);
    };
    worker.onmessage = over(resolve);
    worker.onerror = over(reject);
    worker.postMessage(asked);
  });
}

function useHere() {
  leaving = false;
  tabs.hold();
  dispatch({ type: "use_here", picks: store.picks() });
  connection.start();
}

async function getJson(path, { headers = {}, ...options } = {}) {
  const answer = await fetch(path, { headers: { accept: "application/json", ...headers }, ...options });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** A refused upgrade tells a page nothing but "failed"; the sale's own address says why. */
async function checkSale() {
  const now = performance.now();
  if (state.clock === null || now - lastFailureCheck > 30_000) {
    lastFailureCheck = now;
    await loadSale();
  }
}

async function loadSale() {
  try {
    dispatch({ type: "sale", sale: await getJson(api) });
    if (state.sale.phase === "closed" && state.link.status === "cut") stopForGood("closed");
  } catch (error) {
    // 400: an address that can be no sale's.
    if ([400, 404].includes(error.status)) stopForGood("unknown");
  }
}

let reloading = false;

async function reloadSale() {
  if (reloading) return;
  reloading = true;
  await pause(Math.random() * SALE_SPREAD_MS);
  reloading = false;
  await loadSale();
}

let watching = false;

/** A closed sale takes no sockets, but still tells a visitor what he has booked, and what became of a hold. */
async function watchBooking() {
  if (watching) return;
  watching = true;
  do {
    await lookUpBooking();
    if (state.booking?.status !== "held") break;
    await pause(HOLD_POLL_MS * (0.5 + Math.random()));
  } while (state.stop === "closed");
  watching = false;
}

async function lookUpBooking() {
  const place = store.place();
  if (!place) return;
  try {
    const me = await getJson(`${api}/places/me`, { headers: { authorization: `Bearer ${place}` } });
    if (!me.booking) return;
    const now = performance.now();
    const known = receive(receive(state, { ...me, type: "joined", state: "booked" }, now), { ...me.booking, type: "booking" }, now);
    change(act(known, { type: "stop", stop: "closed" }), { type: "booking" });
  } catch {
    // Then the list of bookings last seen here has to do.
  }
}

function stopForGood(word) {
  connection.stop();
  stopped(word);
}

async function fetchPlan(delayMs) {
  // A turn does not wait for the spread of those in line.
  if (state.plan || planAsked === "now" || (planAsked && delayMs > 0)) return;
  planAsked = delayMs === 0 ? "now" : "later";
  const mine = planAsked;
  if (delayMs > 0) await pause(delayMs);
  while (!state.plan && planAsked === mine) {
    try {
      const [turn, json] = await Promise.all([loadTurn(), getJson(`${api}/plan`, ASKED_ANEW)]);
      if (!state.plan) dispatch({ type: "plan", plan: turn.readPlan(json) });
    } catch {
      dispatch({ type: "plan_failed" });
      await pause(RETRY_MS * (0.5 + Math.random()));
    }
  }
}

let turnLoads = 0;

/** A browser may remember that a script could not be loaded: each try has another address. */
async function loadTurn() {
  if (frame.turn === null) {
    const { turn } = await (turnLoads++ === 0 ? import("./turn.mjs") : import(`./turn.mjs?${turnLoads}`));
    frame.turn ??= turn;
    frame.update(state, performance.now());
  }
  return frame.turn;
}

function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

function watchVisitor() {
  for (const event of ["pointerdown", "keydown"]) {
    document.addEventListener(event, () => {
      acted = true;
      follow();
    }, { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    shownTitle = null;
    follow();
    frame.update(state, performance.now());
  });
  for (const event of ["online", "offline"]) addEventListener(event, () => frame.update(state, performance.now()));
  watchWaking((wake) => { if (wantsPlace(state)) connection.wake(wake); });
  addEventListener("beforeunload", (event) => { if (hasChosen(state)) event.preventDefault(); });
  addEventListener("pageshow", (event) => { if (event.persisted && wantsPlace(state)) tabs.hold(); });
  setInterval(() => { if (document.visibilityState === "visible") frame.update(state, performance.now()); }, TICK_MS);
}

async function start() {
  frame.update(state, performance.now());
  watchVisitor();
  lastFailureCheck = performance.now();
  loadSale().then(() => { if (state.stop === "closed") watchBooking(); });
  if (await takenElsewhere) {
    early?.socket.close();
    dispatch({ type: "elsewhere", elsewhere: "open" });
    return;
  }
  if (!state.stop) tabs.hold();
  if (early && wantsPlace(state)) {
    connection.adopt(early);
  } else {
    early?.socket.close();
    connection.start();
  }
}

start();
