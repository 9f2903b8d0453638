// From a visitor's tap on the link until he sees his rank, cold, on a slow phone: 1.44 Mbit/s and a quarter of this machine's speed. "Slow 4G" of Chromium's
// tools adds 562.5 ms to each request, which stands for the round trips of a line with 150 ms; so there are both, and a line that takes 562.5 ms for each
// round trip of TCP. By turns with a page that opens its socket only when its first script has come. Read in docs/rehearsal.md.
// Needs a release build, Redis, PostgreSQL, Chromium, and `npm ci` in tests/browser:
//   node benches/first_rank/bench.mjs [--rounds 9] [--slower 4]
import { parseArgs } from 'node:util';
import { median } from '../machine.mjs';
import { slowLine } from './slow.mjs';

process.env.BIN ??= process.env.WAITROOM_BIN;
const { Server } = await import('../../tests/browser/harness.mjs');
const { browser } = await import('../../tests/browser/stage.mjs');

const { values: flags } = parseArgs({ options: {
  rounds: { type: 'string', default: '9' }, slower: { type: 'string', default: '4' },
} });
const BYTES_PER_S = 1_440_000 / 8;
const LINES = [
  { name: "the tools' Slow 4G", requestMs: 562.5 },
  { name: 'a round trip takes 150 ms', roundTripMs: 150 },
  { name: 'a round trip takes 562.5 ms', roundTripMs: 562.5 },
];
const WAITING = 20;

/** → ms from the start of the navigation until the rank is there; `requestMs`: what the browser itself adds to each request */
async function firstRank(url, early, requestMs) {
  const context = await (await browser()).newContext();
  const page = await context.newPage();
  // What the page has begun, first.mjs does not find.
  if (!early) await page.addInitScript(() => { Object.defineProperty(globalThis, 'knock', { get: () => null, set: (socket) => socket.close() }); });
  await page.addInitScript(() => {
    globalThis.ranked = new Promise((resolve) => {
      const look = () => (document.querySelector('section.rank[data-rank]') ? resolve(performance.now()) : requestAnimationFrame(look));
      look();
    });
  });
  const cdp = await context.newCDPSession(page);
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: Number(flags.slower) });
  if (requestMs) {
    await cdp.send('Network.enable');
    const conditions = { offline: false, latency: requestMs, downloadThroughput: BYTES_PER_S, uploadThroughput: BYTES_PER_S / 2 };
    await cdp.send('Network.emulateNetworkConditions', conditions);
  }
  await page.goto(url, { waitUntil: 'commit' });
  const ms = await page.evaluate('ranked');
  await context.close();
  return ms;
}

const server = new Server();
await server.start();
const table = ['| line | socket opened by | median | least | most |', '|---|---|---|---|---|'];
try {
  const sale = await server.sale({ phase: 'paused' });
  await server.rivals(sale, WAITING);
  for (const { name, requestMs, roundTripMs } of LINES) {
    const port = Number(new URL(server.url).port);
    const line = roundTripMs ? await slowLine(port, { roundTripMs, bytesPerS: BYTES_PER_S }) : { port, close() {} };
    const url = `http://127.0.0.1:${line.port}/sales/${sale}`;
    const seen = { early: [], late: [] };
    await firstRank(url, true, requestMs); // Chromium itself starts.
    for (let round = 0; round < Number(flags.rounds); round++) {
      seen.early.push(await firstRank(url, true, requestMs));
      seen.late.push(await firstRank(url, false, requestMs));
    }
    line.close();
    const row = (who, all) => `| ${name} | ${who} | ${[median(all), Math.min(...all), Math.max(...all)].map((ms) => `${(ms / 1000).toFixed(2)} s`).join(' | ')} |`;
    table.push(row('the page', seen.early), row('its first script', seen.late));
  }
  console.log(table.join('\n'));
} finally {
  await (await browser()).close();
  await server.stop();
}
