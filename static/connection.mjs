// One connection that stays with the visitor: a WebSocket, or polls where something between blocks
// those. It comes back after cuts (with jitter), at once when the tab wakes or the network returns,
// and notices sockets that died without a close.
// Knows nothing of screens; everything it learns goes out through the callbacks.

import { delayMs, verdict } from "./backoff.mjs";
import { openSocket } from "./socket.mjs";

/** For the handshake, and again for the answer to the join: some that stand between open a socket and pass nothing on. */
const OPEN_WITHIN_MS = 10_000;
/** A page that never had a socket loses its turn in the queue while it waits for one. */
const FIRST_OPEN_WITHIN_MS = 5_000;
/** So many sockets in a row may fail, where one has worked before, until polls are tried. */
const SOCKETS_LOST_MAX = 3;
/** While polling: when a socket is tried again; then twice as long, and so on. */
const SOCKET_AGAIN_MS = 5_000;
const SOCKET_AGAIN_LONGEST_MS = 300_000;
/** Below the 60 s of silence at which common proxies cut. */
const PING_EVERY_MS = 25_000;
const PONG_WITHIN_MS = 8_000;
/** Someone is looking at the page: no need to be patient. */
const PONG_WITHIN_AWAKE_MS = 3_000;
/** Focus, visibility and pageshow fire together; and a closing server is not to be hammered. */
const AT_ONCE_EVERY_MS = 2_000;

export class Connection {
  /**
   * @param makePolling () → what takes a WebSocket's place, over HTTP
   * @param hello    () → the `join` to send first, or null when no place is wanted just now
   * @param onMessage (message, at) → void
   * @param onLink   ({ status: "connecting" | "live" | "cut" | "idle", via?, why?, retryMs? }) → void
   * @param onStop   (word) → void: an end that no reconnect mends
   * @param work     ({ challenge, bits }) → a promise of the proof: what a server may ask for before it draws a place
   */
  constructor({ url, makePolling, hello, onMessage, onLink, onStop, work, env = browserEnv() }) {
    Object.assign(this, { url, makePolling, hello, onMessage, onLink, onStop, work, env });
    this.socket = null;
    this.polling = false;
    /** Another socket that is tried while polls go on. */
    this.candidate = null;
    this.hadSocket = false;
    this.socketsLost = 0;
    this.live = false;
    this.attempt = 0;
    this.timers = {};
    this.error = null;
    /** Of work that was asked for; good for one visitor. */
    this.proof = null;
    this.drainUntil = null;
    this.pace = "normal";
    this.lastAtOnce = -Infinity;
  }

  start() {
    this.#drop();
    this.attempt = 0;
    this.#open();
  }

  /** Goes on with the socket that first.mjs opened, from where it is. */
  adopt(early) {
    early.adopted = true;
    this.openedAt = this.env.now();
    this.onLink({ status: "connecting" });
    this.#waitForOpen();
    this.#use(early.socket, early.sent ? null : early.join);
    for (const { data, at } of early.heard) this.#received(data, at);
    if (early.closed !== null) this.#lost(early.closed);
  }

  stop() {
    this.#drop();
    this.onLink({ status: "idle" });
  }

  /** False when nothing can be sent now; the caller decides what a reconnect should repeat. */
  send(message) {
    if (!this.socket || this.socket.readyState !== 1) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The tab woke or the network returned. `suspended`: the machine slept, so trust no socket. */
  wake({ suspended = false } = {}) {
    const now = this.env.now();
    if (this.live && !suspended) {
      this.#probe(PONG_WITHIN_AWAKE_MS);
      return;
    }
    const waiting = this.timers.retry !== undefined;
    const stuck = this.socket !== null && !this.live && now - this.openedAt > AT_ONCE_EVERY_MS;
    if (!(waiting || stuck || (this.live && suspended))) return;
    // Told to slow down: waking is no reason to come sooner.
    if (waiting && this.pace !== "normal") return;
    if (now - this.lastAtOnce < AT_ONCE_EVERY_MS) return;
    this.lastAtOnce = now;
    this.#drop();
    this.#open();
  }

  #open() {
    const hello = this.hello();
    if (!hello) {
      this.onLink({ status: "idle" });
      return;
    }
    this.onLink({ status: "connecting" });
    this.error = null;
    this.drainUntil = null;
    this.openedAt = this.env.now();
    // After polls that failed too it is a socket's turn again.
    this.polling = !this.polling && this.socketsLost >= (this.hadSocket ? SOCKETS_LOST_MAX : 1);
    const socket = this.polling ? this.makePolling() : this.#newSocket();
    this.#waitForOpen();
    this.#use(socket, hello);
  }

  #waitForOpen() {
    this.#timer("open", this.hadSocket ? OPEN_WITHIN_MS : FIRST_OPEN_WITHIN_MS, () => this.#lost(1006));
  }

  #newSocket() {
    return openSocket(this.url, this.env.WebSocket);
  }

  #use(socket, hello) {
    this.socket = socket;
    // An old socket's late events must not touch its successor.
    const mine = (handle) => (event) => { if (this.socket === socket) handle(event); };
    const opened = () => {
      // Polls have a patience of their own.
      if (this.polling) this.#cancel("open");
      else this.#waitForOpen();
      if (hello) this.send(this.proof ? { ...hello, proof: this.proof } : hello);
      this.#heard();
    };
    socket.onopen = mine(opened);
    socket.onmessage = mine((event) => this.#received(event.data));
    socket.onclose = mine((event) => this.#lost(event.code));
    if (socket.readyState === 1) opened();
  }

  /** Polls are for where nothing else works: whether a socket does by now is tried beside them. */
  #trySocket(againMs) {
    const socket = this.#newSocket();
    this.candidate = socket;
    const mine = (handle) => () => { if (this.candidate === socket) handle(); };
    const later = mine(() => {
      this.#dropCandidate();
      this.#timer("socket", againMs, () => this.#trySocket(Math.min(againMs * 2, SOCKET_AGAIN_LONGEST_MS)));
    });
    this.#timer("candidate", OPEN_WITHIN_MS, later);
    socket.onclose = later;
    const hello = () => (this.socket.busy ? null : this.hello());
    socket.onopen = mine(() => {
      const join = hello();
      if (join) socket.send(JSON.stringify(join));
      else later();
    });
    // Not before it has answered: one that opens may still be deaf, and polls are not.
    socket.onmessage = (event) => {
      if (this.candidate !== socket || !event.data.includes('"joined"')) return;
      if (!hello()) {
        later();
        return;
      }
      this.candidate = null; // Not to be dropped with the polls.
      this.#drop();
      this.polling = false;
      this.#use(socket, null);
      this.#received(event.data);
    };
  }

  #dropCandidate() {
    const socket = this.candidate;
    this.candidate = null;
    this.#cancel("candidate");
    if (socket && socket.readyState < 2) socket.close();
  }

  /** @param at when it came: what it says of times counts from there. */
  #received(text, at = this.env.now()) {
    this.#heard();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // Not for this version of the page.
    }
    if (message.type === "pong") return;
    if (message.type === "error") this.error = message;
    if (message.type === "reconnect") this.drainUntil = this.env.now() + (message.after_ms ?? 0);
    if (message.type === "joined" && !this.live) {
      this.#cancel("open");
      this.live = true;
      this.attempt = 0;
      this.proof = null;
      if (this.polling) {
        this.#timer("socket", SOCKET_AGAIN_MS * (1 + this.env.random()), () => this.#trySocket(SOCKET_AGAIN_MS * 2));
      } else {
        this.hadSocket = true;
        this.socketsLost = 0;
      }
      this.onLink({ status: "live", via: this.polling ? "polls" : "socket" });
    }
    this.onMessage(message, at);
  }

  #heard() {
    this.#cancel("pong");
    this.#timer("ping", PING_EVERY_MS, () => this.#probe(PONG_WITHIN_MS));
  }

  #probe(withinMs) {
    if (!this.send({ type: "ping" })) return;
    this.#timer("pong", withinMs, () => this.#lost(1006));
  }

  #lost(closeCode) {
    const { error, drainUntil } = this;
    // Ends without a word, before a word: this is how a blocked socket looks.
    if (closeCode === 1006 && !this.live && !this.polling) this.socketsLost += 1;
    this.#drop();
    if (error?.code === "proof_needed") {
      // A proof that was not taken is no reason to work on and on.
      const again = this.proof !== null;
      this.proof = null;
      if (error.proof && !again) {
        this.#prove(error.proof);
        return;
      }
    }
    const { stop, pace: usual, why } = verdict(closeCode, error);
    if (stop) {
      this.onLink({ status: "idle" });
      this.onStop(stop);
      return;
    }
    // A server that had to cut its last sockets has said to them, too, when to come.
    const pace = usual === "normal" && drainUntil !== null ? "drain" : usual;
    this.pace = pace;
    // Told some time ago: the server closes when that time is over.
    const afterMs = drainUntil === null ? error?.after_ms ?? null : Math.max(0, drainUntil - this.env.now());
    const retryMs = delayMs({ pace, attempt: this.attempt++, afterMs, random: this.env.random });
    this.#timer("retry", retryMs, () => this.#open());
    this.onLink({ status: "cut", why, retryMs });
  }

  /** No connection is kept meanwhile; whoever comes back sooner is asked anew. */
  async #prove(asked) {
    this.asked = asked;
    this.onLink({ status: "connecting", why: "work" });
    const proof = await this.work(asked).catch(() => null);
    if (this.asked !== asked) return;
    this.asked = null;
    this.proof = proof;
    // Whoever cannot do it tries again later, as after any other cut.
    this.error = null;
    if (proof) this.#open();
    else this.#lost(4429);
  }

  #drop() {
    this.asked = null;
    for (const name of Object.keys(this.timers)) this.#cancel(name);
    this.#dropCandidate();
    this.live = false;
    const socket = this.socket;
    this.socket = null;
    if (socket && socket.readyState < 2) socket.close();
  }

  #timer(name, ms, run) {
    this.#cancel(name);
    this.timers[name] = this.env.setTimeout(() => {
      delete this.timers[name];
      run();
    }, ms);
  }

  #cancel(name) {
    if (this.timers[name] === undefined) return;
    this.env.clearTimeout(this.timers[name]);
    delete this.timers[name];
  }
}

function browserEnv() {
  return {
    WebSocket: globalThis.WebSocket,
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (id) => clearTimeout(id),
    now: () => performance.now(),
    random: Math.random,
  };
}

/** Calls back at every sign that the visitor or the network is back. */
export function watchWaking(onWake, target = window) {
  let wall = Date.now();
  let mono = performance.now();
  const check = () => {
    // The monotonic clock may stand still while the machine sleeps, the wall clock does not: if
    // they drifted apart, every countdown on this page is wrong until the server repeats it.
    const slept = Date.now() - wall - (performance.now() - mono) > 2_000;
    wall = Date.now();
    mono = performance.now();
    onWake({ suspended: slept });
  };
  const visible = () => { if (document.visibilityState === "visible") check(); };
  document.addEventListener("visibilitychange", visible);
  target.addEventListener("pageshow", (event) => { if (event.persisted) check(); });
  target.addEventListener("focus", check);
  target.addEventListener("online", check);
}
