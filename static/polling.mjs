// A way to the line without a WebSocket, which some proxies block: it looks like a socket to
// connection.mjs, and asks over HTTP (contract §3) what a socket would be told.

const ANSWER_WITHIN_MS = 10_000;
const REFRESH_S = 5;
/** A deadline that moved by more was put off (after an outage); less is the time of the answer. */
const DEADLINE_MOVED_MS = 1_500;
/** What a socket would be closed with. */
const CLOSE_OF_CODE = { identity_invalid: 4401, limit_reached: 4403, removed: 4403, sale_closed: 4410, too_many: 4429, proof_needed: 4429, unavailable: 4503, bad_message: 4400, foreign_origin: 4400 };
const CLOSE_OF_STATUS = { 429: 4429, 503: 4503 };

export class PollingSocket {
  constructor(api, env = browserEnv()) {
    this.api = api;
    this.env = env;
    this.readyState = 0;
    /** Proof of who asks: the newest place token. */
    this.token = null;
    this.joined = null;
    this.granted = null;
    this.booking = null;
    this.heldUntil = null;
    this.notice = "";
    this.outage = false;
    this.taken = null;
    this.watching = false;
    /** A look at the standing is on its way: one at a time. */
    this.looking = false;
    /** How often the visitor has done something, and was answered: a look from before says what is no more. */
    this.deeds = 0;
    /** A booking is on its way: not the moment to change to another connection. */
    this.busy = false;
    this.aborts = new Set();
    this.timer = env.setTimeout(() => {
      this.readyState = 1;
      this.onopen?.({});
    }, 0);
  }

  send(text) {
    const { type, ...fields } = JSON.parse(text);
    const run = { join: this.#join, leave: this.#leave, seats: this.#seats, redeem: this.#redeem, ping: this.#poll }[type];
    run.call(this, fields).catch((error) => this.#fail(error));
  }

  close() {
    this.readyState = 3;
    this.env.clearTimeout(this.timer);
    for (const abort of this.aborts) abort.abort();
  }

  async #join(fields) {
    this.token = fields.place ?? null;
    this.joined = null;
    this.granted = null;
    this.booking = null;
    this.watching = false;
    const { body } = await this.#do("POST", "/places", fields);
    this.#tellStanding(body);
    await this.#poll();
  }

  async #leave() {
    const { status, body } = await this.#do("DELETE", "/places/me");
    if (status === 409) this.#tell(body);
    else this.#lapse("left");
  }

  async #seats() {
    this.watching = true;
    const { status, body } = await this.#ask("GET", "/places/me/seats");
    if (status === 409) this.#tell(body);
    else this.#tellMap(body, true);
  }

  async #redeem(fields) {
    this.busy = true;
    try {
      const { body } = await this.#do("POST", "/places/me/redeem", fields);
      if (body.type === "booking") {
        this.booking = bookingKey(body);
        this.heldUntil = body.hold_expires_in_ms === undefined ? null : this.env.now() + body.hold_expires_in_ms;
        // The turn is spent; what comes of the booking the polls will tell.
        this.granted = null;
        if (this.joined) this.joined = { ...this.joined, state: "booked" };
      }
      this.#tell(body);
    } finally {
      this.busy = false;
    }
  }

  async #poll() {
    if (this.looking) return; // What it finds answers this one too.
    this.looking = true;
    this.env.clearTimeout(this.timer);
    const seconds = await this.#look().finally(() => { this.looking = false; });
    if (seconds === null || this.readyState !== 1) return;
    this.timer = this.env.setTimeout(() => this.#poll().catch((error) => this.#fail(error)), seconds * 1000 * (0.9 + 0.2 * this.env.random()));
  }

  /** → in how many seconds to look again, or null where there is nothing more to see */
  async #look() {
    if (this.joined === null) {
      // Without a place there is nothing to ask but whether the sale still answers.
      await this.#ask("GET", "");
      this.#tell({ type: "pong" });
      return this.joined === null ? null : 0; // Joined meanwhile.
    }
    const { deeds } = this;
    const { status, body } = await this.#ask("GET", "/places/me");
    if (this.joined === null) return null; // Left meanwhile.
    if (deeds !== this.deeds) return 0;
    if (status === 404) {
      const sale = await this.#ask("GET", "");
      if (deeds !== this.deeds) return 0;
      if (sale.body.phase === "closed") this.#end(4410, "sale_closed");
      else this.#lapse("expired");
      return null;
    }
    if (body.lapsed) {
      this.#lapse(body.lapsed);
      return null;
    }
    this.#tellAll(body);
    if (this.watching && this.granted) {
      const map = await this.#ask("GET", "/places/me/seats");
      if (map.status === 200) this.#tellMap(map.body, false);
    }
    return body.refresh_s ?? REFRESH_S;
  }

  #tellAll({ granted, booking, refresh_s: _, notice = "", outage = false, ...standing }) {
    this.#tellStanding(standing);
    if (notice !== this.notice) this.#tell({ type: "notice", text: (this.notice = notice) });
    if (outage !== this.outage) this.#tell({ type: "outage", on: (this.outage = outage) });
    const now = this.env.now();
    const until = granted ? now + granted.expires_in_ms : null;
    if (granted && (granted.token !== this.granted?.token || Math.abs(until - this.granted.until) > DEADLINE_MOVED_MS)) {
      this.granted = { token: granted.token, until };
      this.watching = false; // As on a socket: with a new grant the page asks again.
      this.#tell({ ...granted, type: "granted" });
    }
    this.granted = granted ? { token: granted.token, until } : null;
    const held = booking?.hold_expires_in_ms === undefined ? null : now + booking.hold_expires_in_ms;
    if (booking && (bookingKey(booking) !== this.booking || Math.abs(held - this.heldUntil) > DEADLINE_MOVED_MS)) {
      this.booking = bookingKey(booking);
      this.heldUntil = held;
      this.#tell({ ...booking, type: "booking" });
    }
    if (standing.phase === "closed") this.#end(4410, "sale_closed");
  }

  #tellStanding({ type: _, ...next }) {
    const before = this.joined;
    this.joined = next;
    this.token = next.place ?? this.token;
    const { rank, total, eta_s, phase, opens_at } = next;
    // As a socket would: news while nothing else changed, else the whole standing.
    if (!before || before.state !== next.state || before.epoch !== next.epoch || (next.state === "waiting" && rank > before.rank)) {
      this.taken = null; // The whole map is wanted anew.
      this.#tell({ ...next, type: "joined" });
      return;
    }
    if (phase !== before.phase || opens_at !== before.opens_at) this.#tell({ type: "phase", phase, opens_at });
    if (next.state === "waiting") this.#tell({ type: "rank", rank, total, eta_s });
    else this.#tell({ type: "pong" });
  }

  #tellMap(map, asked) {
    if (!asked && map.taken === this.taken) return;
    this.taken = map.taken;
    this.#tell(map);
  }

  #lapse(reason) {
    this.env.clearTimeout(this.timer);
    this.joined = null;
    this.granted = null;
    this.#tell({ type: "lapsed", reason });
  }

  #tell(message) {
    if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** As `#ask`; looks that were taken before the answer count no more. */
  async #do(method, path, fields) {
    this.deeds += 1;
    return this.#ask(method, path, fields).finally(() => { this.deeds += 1; });
  }

  /** → { status, body } for what is an answer; anything else is thrown as a close. */
  async #ask(method, path, fields) {
    const abort = new AbortController();
    this.aborts.add(abort);
    const late = this.env.setTimeout(() => abort.abort(), ANSWER_WITHIN_MS);
    try {
      const answer = await this.env.fetch(this.api + path, {
        method, signal: abort.signal, cache: "no-store",
        headers: {
          accept: "application/json",
          ...(fields ? { "content-type": "application/json" } : {}),
          ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
        },
        ...(fields ? { body: JSON.stringify(fields) } : {}),
      });
      // Whatever stands between may answer as well, in words of its own: that is nobody's standing.
      const body = await answer.json().catch(() => null);
      if (body && (answer.ok || answer.status === 409 || body.code === "no_place")) return { status: answer.status, body };
      const { message, code, proof, after_ms } = body ?? {};
      throw Object.assign(new Error(message), { code, proof, after_ms, close: CLOSE_OF_CODE[code] ?? CLOSE_OF_STATUS[answer.status] ?? 1006 });
    } finally {
      this.env.clearTimeout(late);
      this.aborts.delete(abort);
    }
  }

  #fail({ close = 1006, code = null, proof, after_ms }) {
    this.#end(close, code, { proof, after_ms });
  }

  #end(closeCode, errorCode, more = {}) {
    if (this.readyState !== 1) return;
    if (errorCode) this.#tell({ type: "error", code: errorCode, ...more });
    this.close();
    this.onclose?.({ code: closeCode });
  }
}

/** What of a booking is news; its remaining time is not. */
function bookingKey({ booking, status, seats }) {
  return JSON.stringify([booking, status, seats]);
}

function browserEnv() {
  return {
    fetch: (...asked) => fetch(...asked),
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (id) => clearTimeout(id),
    now: () => performance.now(),
    random: Math.random,
  };
}
