// What a visitor who waits costs, over a socket and by polling: by turns, medians. Read in docs/cost.md.
// Needs a release build, Redis, PostgreSQL, and `npm ci` in tests/foreign:
//   unshare -n sh -c 'ip link set lo up && node benches/polling/bench.mjs [--rounds 3] [--visitors 2000]'
// (In a network of its own the bytes on the wire can be counted; without `unshare` that column stays empty.)
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cpu, median, memory, pushes } from '../machine.mjs';
import { Connection, Listener, Poller } from './visitors.mjs';

const { Server, plan, sleep } = await import('../../tests/foreign/lib/world.mjs');
const { startStores, stopAllStores } = await import('../../tests/foreign/lib/stores.mjs');

const { values: flags } = parseArgs({ options: {
  rounds: { type: 'string', default: '3' }, visitors: { type: 'string', default: '2000' },
} });
const VISITORS = Number(flags.visitors);
const RATE = 50;
const SETTLE_MS = 3200;
const WINDOW_MS = 5000;
const AT_A_TIME = 64;
/** Ranks below 1,000 are near: swept four times a second, others each 3 s. So many ahead of who is measured keep him far, or near. */
const FAR = 1000 + RATE * 12;
const NEAR = RATE * 12;

const WAYS = [
  ['nobody', { ahead: FAR, count: 0 }],
  ['socket, rank 1,000 and beyond', { ahead: FAR, count: VISITORS }],
  ['socket, rank below 1,000', { ahead: NEAR, count: 1000 - NEAR }],
  ['poll each 5 s, kept connections', { ahead: FAR, count: VISITORS, every: 5 }],
  ['poll each 5 s, a connection each', { ahead: FAR, count: VISITORS, every: 5, anew: true }],
  ['poll each 1 s, kept connections', { ahead: FAR, count: VISITORS, every: 1 }],
  ['poll without a pause', { ahead: FAR, count: VISITORS, every: 0 }],
];

/** As many as that, so many at a time. */
async function several(count, one) {
  const all = [];
  let left = count;
  await Promise.all(Array.from({ length: AT_A_TIME }, async (_, worker) => { while (left-- > 0) all.push(await one(worker)); }));
  return all;
}

/** People in front, who wait by calls: they count as present for 15 s after one. */
async function crowd(way, sale, count) {
  const connections = Array.from({ length: AT_A_TIME }, () => new Connection(way));
  const all = await several(count, (worker) => Poller.join(connections[worker], way, sale, { every: 5 }));
  return {
    stay: () => Promise.all(connections.map(async (own) => { for (const one of all) if (one.connection === own) await one.poll(); })),
    end: () => connections.forEach(({ socket }) => socket.destroy()),
  };
}

const info = (stores, section) => execFileSync('redis-cli', ['-s', stores.redis.socket, 'info', section], { encoding: 'utf8' });

/** Redis' commands so far, those within scripts too. */
function commands(stores) {
  const lines = info(stores, 'commandstats').matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  return Object.fromEntries([...lines].map(([, name, calls]) => [name, Number(calls)]).filter(([name]) => name !== 'info'));
}

const appended = (stores) => Number(info(stores, 'persistence').match(/aof_current_size:(\d+)/)[1]);

/** Bytes on the wire so far, with the heads of IP and TCP; null where it is not ours alone. */
function wire() {
  const lines = readFileSync('/proc/net/dev', 'utf8').trim().split('\n').slice(2);
  return lines.length === 1 ? Number(lines[0].trim().split(/[:\s]+/)[1]) : null;
}

/** All that only grows. */
async function counters(stores, server, visitors) {
  const bytes = (i) => visitors.reduce((sum, one) => sum + one.bytes[i], 0);
  const polls = visitors.reduce((sum, { polls = 0 }) => sum + polls, 0);
  return {
    server: cpu([server.child.pid]), redis: cpu([stores.redis.child.pid]), commands: commands(stores), appended: appended(stores),
    wire: wire(), up: bytes(0), down: bytes(1), items: await pushes(server) + polls, at: performance.now(),
  };
}

async function turn(stores, { ahead, count, every, anew }) {
  const server = await Server.start(stores, { drain_s: 1 });
  const way = { port: server.port, secure: false };
  const turns = { rate: RATE, max_active: 10_000, grant_ttl_s: 600, claim_s: 600 };
  const sale = await server.sale({ phase: 'scheduled', plan: plan(20, 100), ...turns });
  const front = await crowd(way, sale, ahead);
  const join = () => (every === undefined ? Listener.join(way, sale) : Poller.join(new Connection(way), way, sale, { every, anew }));
  const visitors = await several(count, join);
  await front.stay();
  await server.patch(sale, { phase: 'open' });
  visitors.forEach((one) => one.start());
  await sleep(SETTLE_MS);
  const before = await counters(stores, server, visitors);
  await sleep(WINDOW_MS);
  const after = await counters(stores, server, visitors);
  const held = memory([server.child.pid]);
  const { admitted_total: admitted } = await server.show(sale);
  visitors.forEach((one) => one.end());
  front.end();
  await server.patch(sale, { phase: 'closed' });
  await server.child.end('SIGKILL');
  if (admitted < RATE) throw new Error(`the line did not move: ${admitted} admitted`);
  const seconds = (after.at - before.at) / 1000;
  const rate = (name) => (after[name] === null ? NaN : (after[name] - before[name]) / seconds);
  const ages = visitors.map((one) => one.age(before.at, after.at));
  return {
    count, admitted, memory: held, age: ages.reduce((sum, age) => sum + age, 0) / count,
    ...Object.fromEntries(['server', 'redis', 'items', 'wire', 'up', 'down', 'appended'].map((name) => [name, rate(name)])),
    ...Object.fromEntries(Object.entries(after.commands).map(([name, calls]) => [`redis ${name}`, (calls - (before.commands[name] ?? 0)) / seconds])),
  };
}

const SHOWN = ['items', 'server', 'redis', 'memory', 'age', 'admitted'];
const results = new Map(WAYS.map(([name]) => [name, []]));
const stores = await startStores('always');
try {
  for (let round = 1; round <= Number(flags.rounds); round++) {
    for (const [name, way] of WAYS) {
      const seen = await turn(stores, way);
      results.get(name).push(seen);
      console.error(`${round} ${name}: ${SHOWN.map((key) => `${key} ${Number(seen[key].toPrecision(4))}`).join(', ')}`);
    }
  }
} finally {
  await stopAllStores();
}

/** Medians; `nobody` is what the sale itself costs in a second, and is taken off the others. */
const middle = (all) => {
  const keys = [...new Set(all.flatMap(Object.keys))];
  return Object.fromEntries(keys.map((key) => [key, median(all.map((seen) => seen[key] ?? 0))]));
};
const [[, base], ...ways] = [...results].map(([name, all]) => [name, middle(all)]);
const redis = (seen) => Object.keys(seen).filter((key) => key.startsWith('redis '));
const OF_THE_SALE = ['server', 'redis', 'wire', 'appended', 'memory'];
const beyond = (seen, key) => seen[key] - (OF_THE_SALE.includes(key) || key.startsWith('redis ') ? base[key] ?? 0 : 0);
const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '');

const COLUMNS = {
  'pushes or polls': ({ minute }) => fixed(minute('items'), 0),
  'server, ms CPU': ({ minute }) => fixed(minute('server') / 1000, 2),
  'Redis, ms CPU': ({ minute }) => fixed(minute('redis') / 1000, 2),
  'Redis commands': ({ seen, minute }) => fixed(redis(seen).reduce((sum, key) => sum + minute(key), 0), 1),
  'AOF, KB': ({ minute }) => fixed(minute('appended') / 1024, 1),
  'up, KB': ({ minute }) => fixed(minute('up') / 1024, 1),
  'down, KB': ({ minute }) => fixed(minute('down') / 1024, 1),
  'on the wire, KB': ({ minute }) => fixed(minute('wire') / 1024, 1),
  'age of his rank, s': ({ seen }) => fixed(seen.age, 2),
  'memory, KB': ({ seen }) => fixed(beyond(seen, 'memory') / seen.count / 1024, 1),
  'µs a push or poll: server': ({ seen }) => fixed(beyond(seen, 'server') / seen.items, 0),
  Redis: ({ seen }) => fixed(beyond(seen, 'redis') / seen.items, 0),
};
const heads = ['a visitor and minute', ...Object.keys(COLUMNS)];
const rows = ways.map(([name, seen]) => {
  const minute = (key) => beyond(seen, key) * 60 / seen.count;
  return [name, ...Object.values(COLUMNS).map((show) => show({ seen, minute }))];
});
console.log([heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n'));

const all = redis(base).reduce((sum, key) => sum + base[key], 0);
console.log(`\nThe sale itself, a second: server ${fixed(base.server / 1000, 1)} ms, Redis ${fixed(base.redis / 1000, 1)} ms, ${fixed(all, 0)} commands`);
for (const [name, seen] of ways) {
  const each = redis(seen).map((key) => [key.slice(6), beyond(seen, key) / seen.items]).filter(([, calls]) => calls >= 0.01);
  const told = each.toSorted((a, b) => b[1] - a[1]).map(([command, calls]) => `${command} ${fixed(calls, 2)}`).join(', ');
  console.log(`${name}: ${fixed(seen.items, 0)} a second; Redis' commands for each: ${told || 'none'}`);
}
process.exit(0);
