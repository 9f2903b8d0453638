// The `taken` bitmap of `seat_map`: standard base64 with padding; bit i, least significant first,
// is seat i in plan order.

/** One byte a seat (1 = taken): easier to compare and to change than bits. */
export function decodeTaken(base64) {
  const bytes = atob(base64);
  const taken = new Uint8Array(bytes.length * 8);
  for (let i = 0; i < taken.length; i++) {
    taken[i] = (bytes.charCodeAt(i >> 3) >> (i & 7)) & 1;
  }
  return taken;
}

/** A new array with the changes of one `seats_changed` applied; indices outside are ignored. */
export function applyChanges(taken, nowTaken, nowFreed) {
  const next = taken.slice();
  for (const i of nowTaken) if (i < next.length) next[i] = 1;
  for (const i of nowFreed) if (i < next.length) next[i] = 0;
  return next;
}
