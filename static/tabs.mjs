// One tab of a browser holds the place. A second tab asks the others first, because the server
// lets the newer socket take over and the visitor would see the older page go dead.
// BroadcastChannel and not Web Locks: locks need a secure context, and a demo in a LAN has none.

const ANSWER_WITHIN_MS = 250;
/** After the holder says goodbye it may only be reloading. */
const GOODBYE_MS = 2_000;

export class Tabs {
  constructor(sale, { makeChannel = browserChannel, born = Date.now() + Math.random() } = {}) {
    this.id = born;
    this.holding = false;
    this.asking = null;
    /** The tab that held the place is gone. */
    this.onFree = () => {};
    /** Another tab points here. */
    this.onLook = () => {};
    this.channel = makeChannel(`waitroom.${sale}`);
    if (this.channel) this.channel.onmessage = (event) => this.#heard(event.data);
  }

  /** Whether another tab of this browser holds the place. */
  takenElsewhere() {
    if (!this.channel) return Promise.resolve(false);
    return new Promise((resolve) => {
      const done = (taken) => {
        clearTimeout(timer);
        this.asking = null;
        resolve(taken);
      };
      const timer = setTimeout(() => done(false), ANSWER_WITHIN_MS);
      this.asking = done;
      this.channel.postMessage({ say: "ask", id: this.id });
    });
  }

  hold() {
    this.holding = true;
  }

  /** Other tabs may hold it then, unless it goes `quietly`. */
  release({ quietly = false } = {}) {
    if (this.holding && !quietly) this.channel?.postMessage({ say: "goodbye", id: this.id });
    this.holding = false;
  }

  /** Makes the holding tab draw attention to itself (no page may switch tabs). */
  point() {
    this.channel?.postMessage({ say: "look", id: this.id });
  }

  #heard({ say, id, to }) {
    if (say === "ask") {
      // Two tabs restored together both ask: the older one wins.
      if (this.holding || (this.asking && this.id < id)) {
        this.channel.postMessage({ say: "here", id: this.id, to: id });
      }
    } else if (say === "here") {
      if (to === this.id) this.asking?.(true);
    } else if (say === "look") {
      if (this.holding) this.onLook();
    } else if (say === "goodbye") {
      if (this.holding) return;
      setTimeout(async () => {
        if (!this.holding && !(await this.takenElsewhere())) this.onFree();
      }, GOODBYE_MS);
    }
  }
}

function browserChannel(name) {
  return typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name);
}
