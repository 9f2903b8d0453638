// A private Redis and a private PostgreSQL, on sockets in a folder of their own.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, run, until } from './process.mjs';

function answers(path, question, expected) {
  return new Promise((done) => {
    const socket = net.connect(path);
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('error', () => done(false)).on('close', () => done(false));
    socket.on('data', (data) => { done(data.toString('latin1').startsWith(expected)); socket.destroy(); });
    socket.on('connect', () => socket.write(question));
  });
}

class Redis {
  constructor(dir, fsync) {
    Object.assign(this, { dir, fsync });
    this.socket = join(dir, 'redis.sock');
    this.url = `redis+unix://${this.socket}`;
  }

  async start() {
    this.child = new Child('redis-server', [
      '--port', '0', '--unixsocket', this.socket, '--dir', this.dir, '--save', '',
      '--appendonly', 'yes', '--appendfsync', this.fsync, '--maxmemory-policy', 'noeviction',
    ]);
    await until('Redis', () => answers(this.socket, 'PING\r\n', '+PONG'), 120_000);
  }
}

/** PostgreSQL does not run as root. */
function otherUser() {
  if (process.getuid() !== 0) return {};
  const id = (flag, name) => Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: id('-u', name), gid: id('-g', name) };
    } catch { /* no such user */ }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody');
}

/** The newest PostgreSQL of this machine. */
function programs() {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => b - a).map((v) => join(root, v, 'bin')) : [];
  const folders = [...versions, ...process.env.PATH.split(':')];
  const found = folders.find((dir) => ['initdb', 'postgres'].every((name) => existsSync(join(dir, name))));
  if (!found) throw new Error('initdb and postgres are not installed');
  return found;
}

class Postgres {
  constructor(dir) {
    this.dir = join(dir, 'pg');
    this.user = otherUser();
    this.url = `postgres:///postgres?host=${encodeURIComponent(this.dir)}&user=waitroom`;
  }

  async make() {
    mkdirSync(this.dir, { mode: 0o700 });
    if ('uid' in this.user) chownSync(this.dir, this.user.uid, this.user.gid);
    const args = ['-D', join(this.dir, 'data'), '-U', 'waitroom', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
    const { code, output } = await run(join(programs(), 'initdb'), args, { ...this.user, cwd: '/' });
    if (code !== 0) throw new Error(`initdb: ${output}`);
  }

  async start() {
    this.child = new Child(join(programs(), 'postgres'), [
      '-D', join(this.dir, 'data'), '-k', this.dir, '-c', 'listen_addresses=', '-c', 'fsync=off', '-c', 'max_connections=150',
    ], { ...this.user, cwd: '/' });
    // 'N': no TLS here, but someone who speaks the protocol.
    const question = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
    await until('PostgreSQL', () => answers(join(this.dir, '.s.PGSQL.5432'), question, 'N'), 60_000);
  }
}

const started = new Set();

/** Ends all stores that run. */
export const stopAllStores = () => Promise.all([...started].map((stop) => stop()));

/**
 * Both of them, running; `stop` ends them and forgets their data. Where nobody kills Redis it need not wait for a disk
 * that others keep busy.
 */
export async function startStores(fsync = 'no') {
  const dir = mkdtempSync(join(tmpdir(), 'wf-'));
  chmodSync(dir, 0o755); // PostgreSQL's user must get in
  const redis = new Redis(dir, fsync);
  const postgres = new Postgres(dir);
  const stop = async () => {
    started.delete(stop);
    postgres.child?.signalAll('SIGCONT');
    await Promise.all([redis.child?.end(), postgres.child?.end('SIGINT')]);
    rmSync(dir, { recursive: true, force: true });
  };
  started.add(stop);
  await Promise.all([redis.start(), postgres.make().then(() => postgres.start())]);
  return { dir, redis, postgres, stop };
}
