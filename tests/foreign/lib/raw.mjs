// A WebSocket in bytes, for frames that no honest client would send and for what the server says to them.
import { randomBytes } from 'node:crypto';
import net from 'node:net';

const PATIENCE_MS = 60_000;
export const OP = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** One frame as a client masks it; `rsv` are the three reserved bits. */
export function frame(opcode, payload = '', { fin = true, rsv = 0, masked = true } = {}) {
  const bytes = Buffer.from(payload);
  const length = bytes.length < 126 ? Buffer.from([bytes.length]) : Buffer.from([126, bytes.length >> 8, bytes.length & 255]);
  if (masked) length[0] |= 0x80;
  const head = Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode]), length]);
  if (!masked) return Buffer.concat([head, bytes]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, bytes.map((byte, i) => byte ^ mask[i & 3])]);
}

/** The body of a close frame. */
export function farewell(code, reason = '') {
  return Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
}

export class Raw {
  /** What came, in order: `{opcode, payload}`, then `'fin'` if the server ended its side, or the error's code. */
  heard = [];
  #bytes = Buffer.alloc(0);
  #upgraded = false;
  #wake = () => {};

  static async connect(server, sale) {
    const raw = new Raw();
    raw.socket = net.connect(server.port, '127.0.0.1');
    raw.socket.setNoDelay();
    raw.socket.on('data', (bytes) => raw.#read(bytes));
    raw.socket.on('end', () => raw.#put('fin'));
    raw.socket.on('error', (error) => raw.#put(error.code));
    raw.socket.write(`GET /v1/sales/${sale}/ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
      + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: waitroom.v1\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`);
    await raw.#until('the upgrade', () => raw.#upgraded);
    return raw;
  }

  /** Connected, and in the line. */
  static async join(server, sale) {
    const raw = await Raw.connect(server, sale);
    raw.send(frame(OP.text, '{"type":"join"}'));
    await raw.message('joined');
    return raw;
  }

  send(...frames) { this.socket.write(Buffer.concat(frames)); }

  /** The message of that type, as soon as it has come. */
  async message(type) {
    const found = () => this.messages().find((message) => message.type === type);
    await this.#until(type, found);
    return found();
  }

  messages() { return this.heard.filter(({ opcode }) => opcode === OP.text).map(({ payload }) => JSON.parse(payload)); }

  /** How it ended: the bytes of the close frame, and what came after it. */
  async ended() {
    await this.#until('the end', () => this.heard.some((what) => typeof what === 'string'));
    this.socket.destroy();
    const at = this.heard.findIndex(({ opcode }) => opcode === OP.close);
    return at < 0 ? { after: this.heard } : { close: this.heard[at].payload, after: this.heard.slice(at + 1) };
  }

  /** The pong with that payload. */
  async pong(payload) {
    await this.#until(`a pong ${payload}`, () => this.heard.some((what) => what.opcode === OP.pong && what.payload.equals(Buffer.from(payload))));
  }

  #read(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (!this.#upgraded) {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.#bytes.subarray(0, end).toString().startsWith('HTTP/1.1 101')) return void this.#put('no upgrade');
      this.#upgraded = true;
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    while (this.#bytes.length >= 2) {
      const short = this.#bytes[1] & 127;
      const head = { 126: 4, 127: 10 }[short] ?? 2;
      if (this.#bytes.length < head) break;
      const length = { 126: () => this.#bytes.readUInt16BE(2), 127: () => Number(this.#bytes.readBigUInt64BE(2)) }[short]?.() ?? short;
      if (this.#bytes.length < head + length) break;
      const opcode = this.#bytes[0] & 15;
      this.heard.push({ opcode, payload: Buffer.from(this.#bytes.subarray(head, head + length)) });
      this.#bytes = this.#bytes.subarray(head + length);
    }
    this.#wake();
  }

  #put(what) { this.heard.push(what); this.#wake(); }

  async #until(what, happened) {
    const end = Date.now() + PATIENCE_MS;
    while (!happened()) {
      const left = end - Date.now();
      const over = this.heard.some((one) => typeof one === 'string');
      if (left <= 0 || over) {
        this.socket.destroy();
        throw new Error(`waited for ${what}; heard ${this.heard.map((one) => (one.payload ? `${one.opcode}:${one.payload}` : one))}`);
      }
      await new Promise((done) => {
        const timer = setTimeout(done, left);
        this.#wake = () => { clearTimeout(timer); done(); };
      });
    }
  }
}
