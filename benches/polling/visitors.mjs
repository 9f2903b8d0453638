// Those who wait: over a socket that tells them, or asking again and again. Each notes when a rank reached his screen.
import { Visitor, BROWSER, connect } from '../nginx/client.mjs';

const HOST = 'tickets.example.com';
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

/** When each value reached a screen, in ms. */
class Screen {
  ranks = [];

  shown(at = performance.now()) { this.ranks.push(at); }

  /** How old what it shows is, on average between two moments, in s. */
  age(from, to) {
    const marks = [from, ...this.ranks.filter((at) => at > from && at < to), to];
    let last = this.ranks.findLast((at) => at <= from) ?? from;
    let sum = 0;
    for (let i = 1; i < marks.length; i++) {
      sum += ((marks[i] - last) ** 2 - (marks[i - 1] - last) ** 2) / 2;
      last = marks[i];
    }
    return sum / (to - from) / 1000;
  }
}

/** Waits over a WebSocket. */
export class Listener extends Screen {
  static async join(way, sale) {
    const listener = new Listener();
    listener.visitor = new Visitor(way, sale);
    if (!await listener.visitor.joined) throw new Error('a visitor could not join');
    listener.visitor.socket.on('data', (bytes) => {
      if (bytes[0] === 0x89) listener.visitor.socket.write(PONG);
      if (bytes.includes('"type":"rank"')) listener.shown();
    });
    return listener;
  }

  start() {}

  get bytes() { return [this.visitor.socket.bytesWritten, this.visitor.socket.bytesRead]; }

  end() { this.visitor.close(); }
}

/** A connection over which one request after another is answered. */
export class Connection {
  constructor(way) {
    let text = '';
    this.socket = connect(way).setNoDelay();
    this.closed = new Promise((done) => { this.socket.on('close', done); });
    this.socket.on('error', (error) => this.failed?.(error)).on('close', () => this.failed?.(new Error('closed before the answer')));
    this.socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      const head = text.indexOf('\r\n\r\n') + 4;
      if (head < 4 || text.length < head + Number(/content-length: (\d+)/i.exec(text)?.[1])) return;
      const [status, body] = [text.slice(9, 12), text.slice(head)];
      text = '';
      this.failed = undefined;
      if (status.startsWith('2')) this.done(body);
      else throw new Error(`answered ${status}: ${body}`);
    });
  }

  ask(request) {
    return new Promise((done, failed) => {
      Object.assign(this, { done, failed });
      this.socket.write(request);
    });
  }

  get bytes() { return [this.socket.bytesWritten, this.socket.bytesRead]; }
}

/** Waits by asking every so many seconds (0: again as soon as it is answered), on one connection or on a new one each time. */
export class Poller extends Screen {
  /** What was sent and heard on connections that are no more. */
  past = [0, 0];
  polls = 0;

  /** Draws a place on that connection, which then is his unless each poll has its own. */
  static async join(connection, way, sale, { every, anew = false }) {
    const { place } = JSON.parse(await connection.ask(
      `POST /v1/sales/${sale}/places HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 0\r\n${BROWSER}\r\n\r\n`));
    const poller = Object.assign(new Poller(), { connection: anew ? undefined : connection, way, every, anew });
    poller.request = `GET /v1/sales/${sale}/places/me HTTP/1.1\r\nHost: ${HOST}\r\nAccept: application/json\r\n`
      + `Authorization: Bearer ${place}\r\n${anew ? 'Connection: close\r\n' : ''}${BROWSER}\r\n\r\n`;
    if (anew) connection.socket.end();
    return poller;
  }

  /** As if he had been asking for long: he is anywhere between two polls. */
  start() {
    const wait = Math.random() * this.every * 1000;
    this.shown(performance.now() + wait - this.every * 1000);
    this.timer = setTimeout(() => this.#again(), wait);
  }

  async poll() {
    if (this.anew) this.connection = new Connection(this.way);
    const body = await this.connection.ask(this.request);
    if (this.anew) {
      this.connection.socket.end();
      await this.connection.closed;
      this.past = this.bytes;
      this.connection = undefined;
    }
    return body;
  }

  async #again() {
    if (this.over) return;
    const begun = performance.now();
    await this.poll().catch((error) => { if (!this.over) throw error; });
    this.polls++;
    this.shown();
    // As the page: a tenth sooner or later.
    const wait = this.every * 1000 * (0.9 + 0.2 * Math.random()) - (performance.now() - begun);
    if (this.every === 0) setImmediate(() => this.#again());
    else this.timer = setTimeout(() => this.#again(), wait);
  }

  get bytes() {
    const [up, down] = this.connection?.bytes ?? [0, 0];
    return [this.past[0] + up, this.past[1] + down];
  }

  end() {
    this.over = true;
    clearTimeout(this.timer);
    this.connection?.socket.destroy();
  }
}
