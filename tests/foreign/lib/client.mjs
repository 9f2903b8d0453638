// A visitor's WebSocket, as a shop's own client would write it. It checks each message that it hears, and remembers all.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { CLOSE, messageFault } from './schema.mjs';

/** What any client in this suite has seen that the contract forbids. */
export const violations = [];
/** May come at any time, and are passed over by whom they do not concern. */
const PASSING = new Set(['rank', 'phase', 'seats_changed', 'notice', 'outage']);
/** Far more than the server needs: a machine that compiles beside the tests must not fail them. */
const PATIENCE_MS = 60_000;

/** An upgrade that the server refused. */
export class Refused extends Error {
  constructor(status, headers, body) {
    super(`${status}: ${body}`);
    Object.assign(this, { status, headers, text: body });
    try {
      this.body = JSON.parse(body);
    } catch { /* not JSON */ }
  }
}

export class Visitor {
  #queue = [];
  #wake = () => {};
  #shown = Infinity;

  static async connect(url, options = {}) {
    const visitor = new Visitor();
    visitor.socket = new WebSocket(url, options.protocol ?? 'waitroom.v1', {
      perMessageDeflate: options.deflate ?? false, headers: options.headers, origin: options.origin,
      protocolVersion: 13, ...options.tls,
    });
    const { socket } = visitor;
    socket.on('message', (data, binary) => visitor.#heard(data, binary));
    socket.on('close', (code, reason) => {
      visitor.#put({ type: 'close', code, reason: String(reason) });
      visitor.closedAt = Date.now();
    });
    socket.on('ping', () => { visitor.pings = (visitor.pings ?? 0) + 1; });
    await new Promise((done, failed) => {
      socket.on('open', done);
      socket.on('error', failed);
      socket.on('unexpected-response', (request, response) => {
        let body = '';
        response.on('data', (text) => { body += text; });
        response.on('end', () => { failed(new Refused(response.statusCode, response.headers, body)); request.destroy(); });
      });
    });
    return visitor;
  }

  /** Everything heard, in order, each with the time `at` which it came. */
  log = [];

  #heard(data, binary) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      message = { type: 'garbage', text: String(data) };
    }
    const wrong = binary ? 'a binary frame' : messageFault(message);
    if (wrong) violations.push(wrong);
    // Within a connection and an epoch the rank never rises.
    if (message.type === 'joined') this.#shown = Infinity;
    if (message.type === 'rank' || (message.type === 'joined' && message.state === 'waiting')) {
      if (message.rank > this.#shown) violations.push(`rank rose from ${this.#shown} to ${message.rank}`);
      if (message.type === 'rank' && message.rank === this.#shown) violations.push(`rank ${message.rank} sent again`);
      this.#shown = message.rank;
    }
    this.#put(message);
  }

  #put(message) {
    Object.defineProperty(message, 'at', { value: Date.now() });
    this.log.push(message);
    this.#queue.push(message);
    this.#wake();
  }

  send(message) {
    this.socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  /** The next message, whatever it is; the close is one too. */
  async next(ms = PATIENCE_MS, what = 'a message') {
    const end = Date.now() + ms;
    while (this.#queue.length === 0) {
      const left = end - Date.now();
      assert.ok(left > 0, `waited ${ms} ms for ${what}; heard: ${this.heard()}`);
      await new Promise((done) => {
        const timer = setTimeout(done, left);
        this.#wake = () => { clearTimeout(timer); done(); };
      });
    }
    return this.#queue.shift();
  }

  /** The next message of that type. Passing news is skipped; anything else before it is a fault. */
  async expect(type, fields = {}, ms = PATIENCE_MS) {
    for (;;) {
      const message = await this.next(ms, type);
      const fits = message.type === type && Object.entries(fields).every(([name, value]) => message[name] === value);
      if (fits) return message;
      assert.ok(PASSING.has(message.type), `waited for ${type} ${JSON.stringify(fields)}, heard: ${this.heard()}`);
    }
  }

  /** The close; with `code` it must be that one, after the `error` that belongs to it. */
  async closed(code, ms = PATIENCE_MS) {
    let error;
    for (;;) {
      const message = await this.next(ms, `close ${code ?? ''}`);
      if (message.type === 'error') error = message;
      if (message.type !== 'close') continue;
      if (code !== undefined) {
        assert.equal(message.code, code, `closed by ${message.code} ${message.reason}; heard: ${this.heard()}`);
        if (code >= 4000) assert.equal(CLOSE[error?.code], code, `the error before ${code}; heard: ${this.heard()}`);
        if (error) assert.equal(error.retry, [4408, 4429, 4503].includes(code), `retry of ${error.code}`);
      }
      return { ...message, at: message.at, error };
    }
  }

  /** What came up to now and was not yet looked at: the answer to a ping stands behind it. */
  async sofar() {
    this.send({ type: 'ping' });
    const got = [];
    for (;;) {
      const message = await this.next(PATIENCE_MS, 'pong');
      if (message.type === 'pong') return got;
      assert.notEqual(message.type, 'close', `closed: ${this.heard()}`);
      got.push(message);
    }
  }

  async join(fields = {}) {
    this.send({ type: 'join', ...fields });
    return this.expect('joined');
  }

  async granted(ms) {
    this.grant = await this.expect('granted', {}, ms);
    return this.grant;
  }

  /** Redeems with the own token, unless another is given; the answer. */
  async redeem(fields) {
    const request = fields.request ?? `r${this.log.length}`;
    this.send({ type: 'redeem', request, token: this.grant?.token, ...fields });
    for (;;) {
      const message = await this.next(PATIENCE_MS, 'the answer of a redeem');
      if (message.request === request) return message;
      assert.ok(PASSING.has(message.type), `waited for the answer of ${request}, heard: ${this.heard()}`);
    }
  }

  async seatMap() {
    this.send({ type: 'seats' });
    return this.expect('seat_map');
  }

  heard() { return this.log.map((message) => JSON.stringify(message).slice(0, 200)).join('\n  '); }

  close() { this.socket.close(1000); }

  /** As a lost connection. */
  cut() { this.socket.terminate(); }
}

/** The seats in a bitmap: bit i, least significant first. */
export function seatsOf(bitmap) {
  const bytes = Buffer.from(bitmap, 'base64');
  const seats = [];
  for (let i = 0; i < bytes.length * 8; i++) if (bytes[i >> 3] & (1 << (i & 7))) seats.push(i);
  return seats;
}
