// What the browser tests stand on: the real server with its own Redis and PostgreSQL, and visitors
// that are only a WebSocket. Everything started here is ended here, by pid. Pages: stage.mjs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const BIN = process.env.BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug", "waitroom");
export const REAL_HALL = JSON.parse(readFileSync(join(ROOT, "data/seating-plan-riethsporthalle.json"), "utf8"));
export const WAIT_MS = 40_000;

const children = new Set();
process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });

function start(args, options = {}) {
  // Settings of the machine must not reach the server under test.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WAITROOM_")));
  const child = spawn(BIN, args, { env, stdio: ["ignore", "pipe", "pipe"], ...options });
  children.add(child);
  child.said = "";
  const hear = (chunk) => { child.said += chunk; };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  child.ended = new Promise((resolve) => {
    child.on("error", (error) => {
      hear(`${error.message} (build it, or name the binary in BIN)`);
      resolve(error.code);
    });
    child.on("close", (code, signal) => resolve(code ?? signal));
  }).finally(() => children.delete(child));
  return child;
}

/** Runs the binary to its end. → { code, said } */
export async function run(...args) {
  const child = start(args);
  return { code: await child.ended, said: child.said };
}

export class Server {
  constructor(flags = []) {
    this.flags = flags;
    this.sales = 0;
    this.ports = [0, 0];
  }

  async start() {
    this.folder = mkdtempSync(join(tmpdir(), "waitroom-browser-"));
    await this.run();
    this.token = readFileSync(join(this.folder, "admin-token"), "utf8").trim();
  }

  /** The first time on free ports, then on the same ones again. */
  async run() {
    const [port, adminPort] = this.ports;
    this.child = start(["demo", "--data-dir", this.folder, "--listen", `127.0.0.1:${port}`,
      "--admin-listen", `127.0.0.1:${adminPort}`, ...this.flags]);
    const told = () => [/visitor page +http:\/\/[^:]+:(\d+)/, /metrics +http:\/\/[^:]+:(\d+)/].map((line) => Number(line.exec(this.child.said)?.[1]));
    let over = false;
    this.child.ended.then(() => { over = true; });
    await until("the server to start", () => over || told().every(Boolean), 120_000);
    if (over) throw new Error(`the server ended at start:\n${this.child.said}`);
    this.ports = told();
    [this.url, this.adminUrl] = this.ports.map((at) => `http://127.0.0.1:${at}`);
  }

  async kill(signal = "SIGKILL") {
    this.child.kill(signal);
    return this.child.ended;
  }

  async stop() {
    if (!this.child) return;
    this.child.kill("SIGTERM");
    const late = setTimeout(() => this.child.kill("SIGKILL"), 60_000);
    const code = await this.child.ended;
    clearTimeout(late);
    rmSync(this.folder, { recursive: true, force: true });
    assert.equal(code, 0, `the server's end:\n${this.child.said}`);
  }

  /** An operator's call; a store that a busy machine stalls is asked again. */
  async admin(method, path, body = undefined) {
    const asked = () => fetch(`${this.adminUrl}/v1/admin${path}`, {
      method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${this.token}` },
    });
    let answer = await asked();
    for (let tries = 0; answer.status === 503 && tries < 20; tries++) {
      await pause(500);
      answer = await asked();
      // What was answered 503 may have been done: a creation that is repeated finds it there.
      if (answer.status === 409 && path === "/sales") return "";
    }
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text;
  }

  /** A sale of its own for every test; open unless `phase` says otherwise. → its id */
  async sale({ phase = "open", plan = hall(4, 10), ...settings } = {}) {
    const id = `s${++this.sales}`;
    await this.admin("POST", "/sales", {
      id, name: `Concert ${this.sales}`, plan, rate: 100, max_active: 50, grant_ttl_s: 300, max_seats: 4, anonymous: true, ...settings,
    });
    if (phase !== "scheduled") await this.set(id, { phase });
    return id;
  }

  async set(sale, change) {
    return JSON.parse(await this.admin("PATCH", `/sales/${sale}`, change));
  }

  async show(sale) {
    return JSON.parse(await this.admin("GET", `/sales/${sale}`));
  }

  async bookings(sale) {
    const lines = await this.admin("GET", `/sales/${sale}/bookings`);
    return lines.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  /** A visitor that is only a WebSocket, joined. */
  async rival(sale) {
    const rival = new Rival(`${this.url.replace("http", "ws")}/v1/sales/${sale}/ws`);
    await rival.open();
    return rival;
  }

  async rivals(sale, count) {
    const all = [];
    for (let i = 0; i < count; i++) all.push(await this.rival(sale));
    return all;
  }
}

class Rival {
  constructor(url) {
    this.socket = new WebSocket(url, "waitroom.v1");
    this.socket.on("error", () => {});
    this.heard = [];
    this.socket.on("message", (data) => this.heard.push(JSON.parse(data)));
  }

  async open() {
    await once(this.socket, "open");
    this.say({ type: "join" });
    this.place = (await this.hear("joined")).place;
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message of this type, of those not asked for yet. */
  async hear(type) {
    let at = -1;
    await until(`a ${type}`, () => (at = this.heard.findIndex((message) => message.type === type)) >= 0);
    return this.heard.splice(at, 1)[0];
  }

  async turn() {
    this.granted = await this.hear("granted");
    return this.granted;
  }

  /** Takes seats by name, or `count` of the best; waits for the answer. */
  async book(what) {
    if (!this.granted) await this.turn();
    const wish = typeof what === "number" ? { best: { count: what } } : { seats: what };
    this.say({ type: "redeem", request: "r", token: this.granted.token, ...wish });
    let answer;
    await until("an answer", () => (answer = this.heard.find(({ type }) => type === "booking" || type === "refused")));
    return answer;
  }

  leave() {
    this.say({ type: "leave" });
  }

  close() {
    this.socket.terminate();
  }
}

export async function until(what, holds, ms = WAIT_MS) {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${typeof what === "function" ? what() : what}`);
    await pause(25);
  }
}

export function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

/** A drawn hall: rows of seats `A-<row>-<seat>`, the front half VIP. */
export function hall(rows, seats) {
  return {
    name: "Small hall", size: { width: seats * 25, height: rows * 25 },
    categories: [{ name: "VIP", color: "#8E44AD" }, { name: "Standard", color: "#1D3557" }],
    zones: [{
      name: "A", position: { x: 0, y: 0 },
      rows: Array.from({ length: rows }, (_, r) => ({
        row_number: String(r + 1), position: { x: 0, y: r * 25 },
        seats: Array.from({ length: seats }, (_, s) => ({
          seat_guid: `A-${r + 1}-${s + 1}`, seat_number: String(s + 1), position: { x: s * 25, y: 0 },
          category: r < rows / 2 ? "VIP" : "Standard",
        })),
      })),
    }],
  };
}
