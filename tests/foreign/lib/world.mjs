// The servers under test, and what an operator does with them.
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHmac } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { fileURLToPath } from 'node:url';
import { Visitor } from './client.mjs';
import { Child, endAll, freePort, sleep, until } from './process.mjs';
import { startStores, stopAllStores } from './stores.mjs';

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../target', import.meta.url));
export const BINARY = process.env.WAITROOM_BIN ?? `${target}/debug/waitroom`;
export const ADMIN_TOKEN = 'the-operator-of-the-foreign-tests';
export const IDENTITY_KEY = 'a shop key of at least thirty-two bytes';
export const SIGNING_KEYS = 'k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=';

/** One HTTP call on a connection of its own; over TLS with these options, where some are given. */
export function call(port, method, path, { body, headers = {}, json = true, tls } = {}) {
  const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((done, failed) => {
    const request = (tls ? https : http).request({ host: '127.0.0.1', port, method, path, agent: false, timeout: 60_000, ...tls,
      headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }), ...headers } });
    request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no answer in 60 s`)));
    request.on('error', failed);
    // An answer to an upgrade that was not asked for.
    request.on('upgrade', (response, socket) => { socket.destroy(); done({ status: response.statusCode, headers: response.headers }); });
    request.on('response', (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', failed);
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        const text = bytes.toString();
        let parsed;
        try {
          parsed = json && text ? JSON.parse(text) : undefined;
        } catch { /* the test looks at the text */ }
        done({ status: response.statusCode, headers: response.headers, bytes, text, body: parsed });
      });
    });
    request.end(payload);
  });
}

/** The environment without settings of the server. */
export const cleanEnv = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WAITROOM_')));

/** A `waitroom serve`. */
export class Server {
  static async start(stores, settings = {}) {
    const server = new Server();
    Object.assign(server, { stores, settings, port: await freePort(), adminPort: await freePort() });
    await server.boot();
    return server;
  }

  /** Also: again, on the same ports. */
  async boot() {
    this.child = new Child(BINARY, ['serve'], { env: { ...cleanEnv(), ...this.env() } });
    const ready = async () => this.child.over || (await call(this.adminPort, 'GET', '/readyz')).status === 200;
    await until('the server', ready, 120_000).catch((error) => { throw new Error(`${error.message}\n${this.child.output}`); });
    if (this.child.over) throw new Error(`the server ended: ${this.child.output}`);
  }

  env() {
    const settings = {
      listen: `127.0.0.1:${this.port}`, admin_listen: `127.0.0.1:${this.adminPort}`, redis_url: this.stores.redis.url,
      postgres_url: this.stores.postgres.url, postgres_pool: 6, admin_token: ADMIN_TOKEN, identity_key: IDENTITY_KEY,
      signing_keys: SIGNING_KEYS, drain_s: 2, ...this.settings,
    };
    return Object.fromEntries(Object.entries(settings).map(([key, value]) => [`WAITROOM_${key.toUpperCase()}`, String(value)]));
  }

  get(path, options) { return call(this.port, 'GET', path, options); }
  post(path, options) { return call(this.port, 'POST', path, options); }
  delete(path, options) { return call(this.port, 'DELETE', path, options); }

  admin(method, path, body, headers = {}) {
    return call(this.adminPort, method, `/v1/admin${path}`, { body, headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...headers } });
  }

  /** An operator's call that only makes ready what is tested: a store that a busy machine stalls is asked again. */
  async #surely(method, path, body) {
    let again = false;
    const answer = await until('the stores', async () => {
      const answer = await this.admin(method, path, body);
      if (answer.status === 503) again = true;
      return answer.status !== 503 && answer;
    });
    return { answer, again };
  }

  /** Creates a sale, quick and open unless told otherwise; its id. */
  async sale(overrides = {}) {
    const { phase = 'open', ...fields } = overrides;
    const id = nextId();
    const { answer: created, again } = await this.#surely('POST', '/sales', newSale({ id, ...fields }));
    // What was answered 503 may have been done.
    assert.ok(created.status === 201 || (again && created.status === 409), created.text);
    made.getStore()?.push([this, id]);
    if (phase !== 'scheduled') await this.patch(id, { phase });
    return id;
  }

  async patch(id, change) {
    const { answer: changed } = await this.#surely('PATCH', `/sales/${id}`, change);
    assert.equal(changed.status, 200, changed.text);
    return changed.body;
  }

  async show(id) { return (await this.admin('GET', `/sales/${id}`)).body; }

  url(id) { return `ws://127.0.0.1:${this.port}/v1/sales/${id}/ws`; }

  /** A socket; a sale that another instance made may take a moment to be known here. */
  connect(id, options) { return Visitor.connect(this.url(id), options); }

  /** A visitor who has joined, with `joined` kept. */
  async join(id, fields = {}, options = {}) {
    const visitor = await this.connect(id, options);
    visitor.joined = await visitor.join(fields);
    return visitor;
  }

  /** A visitor whose turn has come. */
  async turn(id, fields) {
    const visitor = await this.join(id, fields);
    await visitor.granted();
    return visitor;
  }

  /** Waits until this instance knows the sale in that phase. */
  async knows(id, phase = 'open') {
    await until(`${phase} on the other instance`, async () => (await this.show(id))?.phase === phase);
  }
}

/**
 * In a sale of one live grant, each gets his turn when the one before him has left, and nobody sooner. (The order in which
 * several grants are heard on several sockets says nothing on a busy machine.)
 */
export async function oneAfterAnother(visitors) {
  for (const [i, visitor] of visitors.entries()) {
    await visitor.granted();
    const sooner = visitors.slice(i + 1).filter(({ log }) => log.some((message) => message.type === 'granted'));
    assert.equal(sooner.length, 0, `served before number ${i}`);
    visitor.send({ type: 'leave' });
    await visitor.expect('lapsed', { reason: 'left' });
  }
}

/** The sales that a test made, to be closed after it. */
export const made = new AsyncLocalStorage();

let sales = 0;
export const nextId = () => `f-${process.pid}-${++sales}`;

export function newSale(fields = {}) {
  return {
    id: nextId(), name: 'A show', plan: plan(2, 10), rate: 100, max_active: 100, grant_ttl_s: 30, claim_s: 30, max_seats: 4,
    anonymous: true, ...fields,
  };
}

/** A hall of rows A, B, …; seats, …; row A is VIP where there is another, all others Hall. */
export function plan(rows, seats) {
  const row = (r) => {
    const name = String.fromCharCode(65 + r);
    const seat = (s) => ({
      seat_guid: `${name}-${s + 1}`, seat_number: `${s + 1}`, position: { x: 10 * s, y: 20 * r },
      category: r === 0 && rows > 1 ? 'VIP' : 'Hall',
    });
    return { row_number: name, position: { x: 0, y: 20 * r }, seats: Array.from({ length: seats }, (_, s) => seat(s)) };
  };
  return {
    name: 'A hall', size: { width: 10 * seats, height: 20 * rows },
    categories: [{ name: 'VIP', color: '#f00' }, { name: 'Hall', color: '#00f' }],
    zones: [{ name: 'Stalls', position: { x: 0, y: 0 }, rows: Array.from({ length: rows }, (_, r) => row(r)) }],
  };
}

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A JWT as a shop's back end would make it. */
export function identity(sub, aud, { exp = 600, key = IDENTITY_KEY, alg = 'HS256', claims = {}, header = {} } = {}) {
  const payload = { sub, aud, exp: Math.floor(Date.now() / 1000) + exp, ...claims };
  const signed = `${base64url({ alg, typ: 'JWT', ...header })}.${base64url(payload)}`;
  const mac = alg === 'none' ? '' : createHmac('sha256', key).update(signed).digest('base64url');
  return `${signed}.${mac}`;
}

/**
 * What to allow where the contract promises a time: the tests run beside one another, and perhaps beside a compiler, so
 * that here nothing shorter than a stall of the machine can be told from one. The load generator holds the promises.
 */
export const within = (promised_ms) => promised_ms + 6000;

/**
 * Two instances over one pair of stores, for all themes that break nothing and start nothing. An instance more over
 * these stores would tick the sales of all themes, and so take part in what others count: who needs one has stores of his
 * own (`ownStores`).
 */
export const world = {};

/** Stores for a theme alone, made when first asked for; they end with the suite. */
export function ownStores() {
  let stores;
  return () => (stores ??= startStores());
}

export async function startWorld() {
  const stores = await startStores();
  // One after the other would hide a race of their migrations.
  [world.a, world.b] = await Promise.all([Server.start(stores), Server.start(stores)]);
}

export async function stopWorld() {
  await Promise.all([world.a?.child.end('SIGKILL'), world.b?.child.end('SIGKILL')]);
  await stopAllStores();
  endAll(); // what a failed test left would keep this process alive
}

export { sleep, until };
