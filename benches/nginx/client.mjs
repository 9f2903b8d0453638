// Visitors as the bench has them: the head of a browser, and no more work for what they hear than to count it.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import https from 'node:https';
import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';

const NAME = 'tickets.example.com';
const TLS = { servername: NAME, rejectUnauthorized: false };
const COOKIES = `Cookie: _ga=GA1.1.1234567890.1700000000; consent=${'a'.repeat(420)}; waitroom_visitor=k1.${'x'.repeat(180)}`;
/** What Chromium sends beside what it asks for, with cookies of the shop's domain. */
export const BROWSER = [
  'Pragma: no-cache', 'Cache-Control: no-cache',
  'User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  'Accept-Encoding: gzip, deflate, br, zstd', 'Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7', COOKIES,
].join('\r\n');
/** … and beside an upgrade (0.7 KB with waitroom's cookie alone): 1.3 KB together. */
const UPGRADE = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Version: 13';

/** One text frame, masked with zeros. */
function frame(text) {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}
const JOIN = frame('{"type":"join"}');
const PING = frame('{"type":"ping"}');

/** Connected; over TLS where the way has it. */
export function connect({ port, secure }, options = {}) {
  return secure ? tls.connect({ host: '127.0.0.1', port, ...TLS, ...options }) : net.connect(port, '127.0.0.1');
}

/** A visitor who joins as soon as he may; `joined` is when he did, or false. */
export class Visitor {
  constructor(way, sale) {
    this.socket = connect(way).setNoDelay();
    const host = `${NAME}:${way.port}`;
    this.socket.once(way.secure ? 'secureConnect' : 'connect', () => this.socket.write(
      `GET /v1/sales/${sale}/ws HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${way.secure ? 'https' : 'http'}://${host}\r\nConnection: Upgrade\r\n`
      + `Upgrade: websocket\r\nSec-WebSocket-Protocol: waitroom.v1\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${UPGRADE}\r\n${BROWSER}\r\n\r\n`));
    let head = '';
    this.joined = new Promise((done) => {
      this.socket.on('error', () => done(false)).on('close', () => done(false));
      this.socket.on('data', (bytes) => {
        if (head !== undefined) {
          const before = head.length;
          head += bytes.toString('latin1');
          if (before === 0 && head.startsWith('HTTP/1.1 101')) this.socket.write(JOIN);
          if (head.startsWith('HTTP/1.1 101') && head.includes('"joined"')) { head = undefined; done(Date.now()); }
        } else if (this.pong && bytes.includes('"pong"')) {
          this.pong(performance.now());
          this.pong = undefined;
        }
      });
    });
  }

  /** How long a ping takes, there and back, in ms. */
  async ping() {
    const start = performance.now();
    const heard = new Promise((done) => { this.pong = done; });
    this.socket.write(PING);
    return await heard - start;
  }

  close() { this.socket.destroy(); }
}

/** So many requests over so many kept connections; all must be answered 200. */
export async function requests(way, path, count, connections = 8) {
  const { Agent, request } = way.secure ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  let left = count;
  const one = () => new Promise((done, failed) => {
    const options = { host: '127.0.0.1', port: way.port, path, agent, headers: { host: NAME, 'accept-encoding': 'gzip, br' }, ...TLS };
    request(options, (response) => {
      response.resume().on('end', () => (response.statusCode === 200 ? done() : failed(new Error(`${path}: ${response.statusCode}`))));
    }).on('error', failed).end();
  });
  await Promise.all(Array.from({ length: connections }, async () => { while (left-- > 0) await one(); }));
  agent.destroy();
}

/** So many TLS handshakes, each after the last of its chain; how many of them were resumed. */
export async function handshakes(way, count, resume) {
  let [left, resumed] = [count, 0];
  await Promise.all(Array.from({ length: 8 }, async () => {
    let session;
    while (left-- > 0) {
      const socket = connect(way, { session });
      const given = resume && new Promise((done) => { socket.once('session', done).once('close', () => done()); });
      await once(socket, 'secureConnect');
      if (socket.isSessionReused()) resumed++;
      socket.resume();
      session = resume ? await Promise.race([given, new Promise((done) => setTimeout(done, 50, session))]) : undefined;
      socket.destroy();
    }
  }));
  return resumed;
}

/** So many TCP connections at once, until all are there. */
export async function herd(way, count) {
  const sockets = Array.from({ length: count }, () => net.connect(way.port, '127.0.0.1'));
  await Promise.all(sockets.map((socket) => new Promise((done) => { socket.once('connect', done).once('error', done); })));
  sockets.forEach((socket) => socket.destroy());
}
