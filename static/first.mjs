// The first script of the page, and all that it needs to join: whoever has a slow line or a slow phone would else come
// later into the queue than he came to the page. The page itself has begun to open the socket; what shows the line loads
// meanwhile, and goes on with it.

import { openSocket } from "./socket.mjs";
import { openStore } from "./store.mjs";
import { Tabs } from "./tabs.mjs";

/** This page is `sales/{sale}`, below whatever path a proxy has put before it. */
const last = location.pathname.split("/").pop();
export const sale = decodeURIComponent(last);
export const api = new URL(`../v1/sales/${last}`, location).pathname;
export const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${api}/ws`;
/** The shop's link may carry an identity behind the #, which no server log sees. */
export const broughtIdentity = new URLSearchParams(location.hash.slice(1)).get("identity");
export const store = openStore(sale);
export const tabs = new Tabs(sale);
/** Whether another tab of this browser holds the place: asked while the socket opens. */
export const takenElsewhere = tabs.takenElsewhere();
/** For so long the server waits for the join. */
const PATIENCE_MS = 10_000;
/** The page's own; not one that has not joined, and the server has lost its patience with, as this script was so long on its way. */
const knock = [globalThis.knock].find((knock) => knock && (knock.joins || knock.closed === null || performance.now() < PATIENCE_MS));
/** Who has left is not put in line behind his back. */
export const early = store.left() ? null : joinEarly();
if (!early) knock?.socket.close();

export function joinMessage({ identity, place, again = false }) {
  return { type: "join", ...(identity ? { identity } : {}), ...(place ? { place } : {}), ...(again ? { again: true } : {}) };
}

/** → { socket, join, sent, heard, closed, adopted }: what connection.mjs goes on with. */
function joinEarly() {
  const socket = knock?.socket ?? openSocket(socketUrl);
  const join = joinMessage({ identity: broughtIdentity, place: store.place() });
  const { joins: sent = false, heard = [], closed = null } = knock ?? {};
  const early = { socket, join, sent, heard, closed, adopted: false };
  const opened = new Promise((resolve) => {
    if (socket.readyState === 1) resolve();
    socket.onopen = resolve;
  });
  socket.onmessage = (event) => early.heard.push(event.data);
  socket.onclose = (event) => { early.closed = event.code; };
  Promise.all([opened, takenElsewhere]).then(([, taken]) => {
    if (early.adopted || early.sent || taken) return;
    socket.send(JSON.stringify(join));
    early.sent = true;
  });
  return early;
}
