// Child processes that end with the suite, and waiting for things to come true.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import net from 'node:net';

const children = new Set();
// A suite that is cut short leaves nothing behind.
export const endAll = () => children.forEach((child) => child.signal('SIGKILL'));
process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `ask` answers something true, and answers that; what it throws counts as no. */
export async function until(what, ask, ms = 60_000, every = 40) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}; last: ${last?.stack ?? JSON.stringify(last)}`);
    await sleep(every);
  }
}

/** Below those that the kernel gives to whoever connects, as in tests/shared/ports.rs: until its program listens, nobody passing may take it. */
const PORTS = { first: 10_000, count: 22_000 };
let asked = 0;

/** A port that nobody listens on just now. */
export async function freePort() {
  for (;;) {
    const port = PORTS.first + ((process.pid * 379 + asked++) % PORTS.count);
    const server = net.createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue; // It is somebody's.
    }
    await new Promise((done) => server.close(done));
    return port;
  }
}

/** All processes that descend from `pid`, itself first. */
export function family(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch { /* ended meanwhile */ }
  }
  const found = [pid];
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found;
}

/** A running program. */
export class Child {
  constructor(program, args, options = {}) {
    this.name = program;
    this.output = '';
    this.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.exit = new Promise((done) => {
      this.process.on('error', (error) => { this.output += error; this.over = true; children.delete(this); done({ code: null, error }); });
      this.process.on('exit', () => { children.delete(this); this.over = true; });
      this.process.on('close', (code, signal) => done({ code, signal })); // after the last of its output
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on('data', (text) => { this.output = (this.output + text).slice(-20_000); });
    }
    children.add(this);
  }

  get pid() { return this.process.pid; }

  signal(name, pid = this.pid) {
    if (this.over || !pid) return;
    try {
      process.kill(pid, name);
    } catch { /* ended meanwhile */ }
  }

  /** Stops or continues it with all its children. */
  signalAll(name) {
    // Twice, for what forked meanwhile.
    for (let i = 0; i < 2; i++) family(this.pid).forEach((pid) => this.signal(name, pid));
  }

  async end(name = 'SIGTERM', ms = 10_000) {
    this.signal(name);
    const timer = setTimeout(() => this.signal('SIGKILL'), ms);
    const exit = await this.exit;
    clearTimeout(timer);
    return exit;
  }
}

/** Runs a program to its end. */
export async function run(program, args, options) {
  const child = new Child(program, args, options);
  const { code } = await child.exit;
  return { code, output: child.output };
}
