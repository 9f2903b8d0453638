// What each directive of deploy/nginx costs or gains: switched one at a time, by turns with the configuration as shipped, medians.
// Read in docs/nginx.md. Needs a release build, Redis, PostgreSQL, nginx and openssl:
//   node benches/nginx/bench.mjs [--rounds 3] [--sockets 2000] [--only word,word] [--json out.json]
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cpu, memory, pushes } from '../machine.mjs';
import { Visitor, handshakes, herd, requests } from './client.mjs';
import { SHIPPED, quantile, table } from './table.mjs';
import { VARIANTS, editor } from './variants.mjs';

// After machine.mjs, which says which program they start.
const { Nginx } = await import('../../tests/foreign/lib/nginx.mjs');
const { Server, sleep } = await import('../../tests/foreign/lib/world.mjs');
const { startStores, stopAllStores } = await import('../../tests/foreign/lib/stores.mjs');

const { values: flags } = parseArgs({ options: {
  rounds: { type: 'string', default: '3' }, sockets: { type: 'string', default: '2000' }, only: { type: 'string' }, json: { type: 'string' },
} });
const SOCKETS = Number(flags.sockets);
const PUSHING_MS = 5000;
const REQUESTS = 1000;
const HANDSHAKES = 320;
const HERD = 1500;
const AT_A_TIME = 64;
const RATE = 50;
/** As shipped, again after so many others: the machine is not the same for half an hour. */
const AGAIN = 6;

/** The same, once it is the same for a second: each worker has begun, and nobody is just shaking hands. */
async function settled(pids) {
  for (let before = -1, now = memory(pids); ; [before, now] = [now, memory(pids)]) {
    if (before === now) return now;
    await sleep(1000);
  }
}

/** Connections that found a backlog full, on this machine so far. */
function dropped() {
  const lines = readFileSync('/proc/net/netstat', 'utf8').split('\n').filter((line) => line.startsWith('TcpExt:'));
  const [names, counts] = lines.map((line) => line.split(' '));
  return Number(counts[names.indexOf('ListenOverflows')]);
}

/** What `work` cost nginx and the server in CPU, each of `count` times. */
async function costs(workers, server, work) {
  const [before, behind] = [cpu(workers), cpu([server.child.pid])];
  const count = await work();
  return { nginx: (cpu(workers) - before) / count, server: (cpu([server.child.pid]) - behind) / count, count };
}

/** Everything about one way to the server; without nginx `workers` is empty. */
async function measure(server, way, workers) {
  const seen = {};
  const sale = await server.sale({ phase: 'scheduled', rate: RATE, max_active: 100_000, plan: HALL });
  const file = (await (await fetch(`http://127.0.0.1:${server.port}/sales/${sale}`)).text()).match(/\/static\/[^"]+\.mjs/)[0];
  await requests(way, '/v1/sales', 64);
  const rest = await settled(workers);
  seen.rest = rest / (workers.length || 1);

  // They come, some at a time.
  const visitors = [];
  const joins = await costs(workers, server, async () => {
    let left = SOCKETS;
    await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
      while (left-- > 0) {
        const visitor = new Visitor(way, sale);
        if (await visitor.joined) visitors.push(visitor);
      }
    }));
    return visitors.length;
  });
  [seen.held, seen.join, seen.serverJoin] = [joins.count, joins.nginx, joins.server];
  seen.memory = (await settled(workers) - rest) / seen.held;
  const files = workers.map((pid) => readdirSync(`/proc/${pid}/fd`).length);
  seen.fullest = Math.max(...files) / files.reduce((sum, one) => sum + one, 0);

  // They wait, and their ranks move.
  await server.patch(sale, { phase: 'open' });
  await sleep(1000);
  const pings = [];
  const push = await costs(workers, server, async () => {
    const [before, end] = [await pushes(server), Date.now() + PUSHING_MS];
    while (Date.now() < end) {
      pings.push(await visitors[Math.floor(Math.random() * visitors.length)].ping());
      await sleep(5);
    }
    return await pushes(server) - before;
  });
  [seen.push, seen.serverPush, seen.pushes] = [push.nginx, push.server, push.count / (PUSHING_MS / 1000)];
  [seen.ping50, seen.ping99] = [quantile(pings, 0.5), quantile(pings, 0.99)];
  visitors.forEach((visitor) => visitor.close());
  await server.patch(sale, { phase: 'closed' });
  await sleep(500);

  // What is no socket.
  const get = (path) => costs(workers, server, async () => { await requests(way, path, REQUESTS); return REQUESTS; });
  const [json, script] = [await get('/v1/sales'), await get(file)];
  [seen.json, seen.serverJson, seen.file, seen.serverFile] = [json.nginx, json.server, script.nginx, script.server];
  if (way.secure) {
    const shake = (resume) => costs(workers, server, async () => { seen.resumed = await handshakes(way, HANDSHAKES, resume) / HANDSHAKES; return HANDSHAKES; });
    [seen.full, seen.again] = [(await shake(false)).nginx, (await shake(true)).nginx];
    const before = dropped();
    await herd(way, HERD);
    seen.dropped = dropped() - before;
  }
  return seen;
}

const HALL = (() => {
  const seats = (row) => Array.from({ length: 100 }, (_, i) => ({ seat_guid: `${row}-${i}`, category: 'Hall' }));
  const rows = Array.from({ length: 200 }, (_, row) => ({ row_number: row, seats: seats(row) }));
  return { name: 'Hall', categories: [{ name: 'Hall' }], zones: [{ name: 'Z', rows }] };
})();

async function through(server, [name, changes, { secure = true, prepare } = {}]) {
  const { edit, missing } = editor(changes);
  const nginx = await Nginx.start({ blue: [`127.0.0.1:${server.port}`], edit, prepare, secure });
  if (missing.size > 0) throw new Error(`${name}: nothing to change: ${[...missing].map(String)}`);
  try {
    return await measure(server, { port: nginx.port, secure }, nginx.workers());
  } finally {
    await nginx.end();
  }
}

const wanted = VARIANTS.filter(([name]) => !flags.only || flags.only.split(',').some((word) => name.includes(word)));
const server = await Server.start(await startStores(), { trusted_proxies: '127.0.0.1', drain_s: 1, address_places: 0 });
const results = new Map([['direct', []], [SHIPPED, []], ...wanted.map(([name]) => [name, []])]);
for (let round = 1; round <= Number(flags.rounds); round++) {
  const turns = ['direct', ...wanted.flatMap((variant, i) => (i % AGAIN === 0 ? [[SHIPPED, []], variant] : [variant])), ...(wanted.length === 0 ? [[SHIPPED, []]] : [])];
  for (const variant of turns) {
    const name = variant === 'direct' ? variant : variant[0];
    const seen = variant === 'direct' ? await measure(server, { port: server.port, secure: false }, []) : await through(server, variant);
    results.get(name).push(seen);
    console.error(`${round} ${name}: ${Object.entries(seen).map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`).join(', ')}`);
    if (flags.json) writeFileSync(flags.json, JSON.stringify([...results]));
  }
}
await server.child.end('SIGKILL');
await stopAllStores();

console.log(table([...results]));
process.exit(0);
