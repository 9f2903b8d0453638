// The first script of the page, and all that it needs to join: whoever has a slow line or a slow phone would else come
// later into the queue than he came to the page. The page itself has begun to open the socket; what shows the line loads
// meanwhile, and goes on with it.

import { openSocket } from "./socket.mjs";
import { openStore } from "./store.mjs";
import { Tabs } from "./tabs.mjs";

/** This page is `sales/{sale}`, below whatever path a proxy has put before it. */
const sale = location.pathname.split("/").pop();
export const api = new URL(`../v1/sales/${sale}`, location).pathname;
export const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${api}/ws`;
/** The shop's link may carry an identity behind the #, which no server log sees. */
export const broughtIdentity = new URLSearchParams(location.hash.slice(1)).get("identity");
export const store = openStore(sale);
export const tabs = new Tabs(sale);
addEventListener("pagehide", () => tabs.release());
/** Whether another tab of this browser holds the place: asked while the socket opens. */
export const takenElsewhere = tabs.takenElsewhere();
/** For so long the server waits for the join. */
const PATIENCE_MS = 10_000;
/** The page's own; not one that the server has lost its patience with, as this script was so long on its way. */
const knock = globalThis.knock?.readyState < 2 || performance.now() < PATIENCE_MS ? globalThis.knock : null;
/** Who has left is not put in line behind his back. */
export const early = store.left() ? null : joinEarly();
if (!early) knock?.close();

export function joinMessage({ identity, place, again = false }) {
  return { type: "join", ...(identity ? { identity } : {}), ...(place ? { place } : {}), ...(again ? { again: true } : {}) };
}

/** → { socket, join, sent, heard: [{ data, at }], closed, adopted }: what connection.mjs goes on with. */
function joinEarly() {
  const socket = knock ?? openSocket(socketUrl);
  const join = joinMessage({ identity: broughtIdentity, place: store.place() });
  // One that was refused is tried again as any other is: later.
  const early = { socket, join, sent: false, heard: [], closed: socket.readyState > 1 ? 1006 : null, adopted: false };
  const opened = new Promise((resolve) => {
    if (socket.readyState === 1) resolve();
    socket.onopen = resolve;
  });
  socket.onmessage = ({ data }) => {
    early.heard.push({ data, at: performance.now() });
    keepPlace(data);
  };
  socket.onclose = (event) => { early.closed = event.code; };
  Promise.all([opened, takenElsewhere]).then(([, taken]) => {
    if (early.adopted || taken) return;
    socket.send(JSON.stringify(join));
    early.sent = true;
    // Another tab that asks from here on hears that the place is here; the rest of the page may be long in coming.
    tabs.hold();
  });
  return early;
}

/** A reload before the rest of the page has come must find it. */
function keepPlace(data) {
  try {
    const { type, place } = JSON.parse(data);
    if (type === "joined" && place) store.setPlace(place);
  } catch {
    // The page will say what it means.
  }
}
