// What this browser remembers. The place token is proof of who the visitor is, so it is kept after
// a booking too. Where storage is blocked the page works on, but says that a reload loses the place.

const PREFIX = "waitroom";

export function openStore(sale, local = storage("localStorage"), session = storage("sessionStorage")) {
  const key = (name) => `${PREFIX}.${sale}.${name}`;
  const memory = new Map();
  const read = (area, name) => {
    try {
      return JSON.parse((area ? area.getItem(key(name)) : memory.get(name)) ?? "null");
    } catch {
      return null;
    }
  };
  const write = (area, name, value) => {
    const text = JSON.stringify(value);
    memory.set(name, text);
    try {
      if (value === null) area?.removeItem(key(name));
      else area?.setItem(key(name), text);
    } catch {
      // A full or forbidden store: this page keeps its memory, a reload does not.
    }
  };
  return {
    /** Whether a reload finds the place again. */
    lasting: local !== null,
    place: () => read(local, "place"),
    setPlace: (token) => write(local, "place", token),
    /** How many were ahead when this place was drawn: the start of the progress bar. */
    start: () => read(local, "start"),
    setStart: (rank) => write(local, "start", rank),
    /** The visitor's own bookings as last seen; the server repeats only the newest. */
    bookings: () => read(local, "bookings") ?? [],
    setBookings: (list) => write(local, "bookings", list),
    maxSeats: () => read(local, "max_seats"),
    setMaxSeats: (count) => write(local, "max_seats", count),
    /** What was chosen in the turn under way, { token, picked, choice }: of all tabs, for a turn may go on in another. */
    picks: () => read(local, "picks"),
    setPicks: (picks) => write(local, "picks", picks),
    /** Per tab: someone who left and reloads is asked before a new place is drawn. */
    left: () => read(session, "left") === true,
    setLeft: (left) => write(session, "left", left ? true : null),
  };
}

export function rememberLanguage(language) {
  try {
    storage("localStorage")?.setItem(`${PREFIX}.language`, language);
  } catch {
    // Not remembered, but still switched.
  }
}

export function rememberedLanguage() {
  try {
    return storage("localStorage")?.getItem(`${PREFIX}.language`) ?? null;
  } catch {
    return null;
  }
}

/** A storage area that really takes writes (some private modes offer one that throws). */
function storage(name) {
  try {
    const area = globalThis[name];
    if (!area) return null;
    area.setItem(`${PREFIX}.probe`, "1");
    area.removeItem(`${PREFIX}.probe`);
    return area;
  } catch {
    return null;
  }
}
