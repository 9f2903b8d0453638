// From a visitor's tap on the link until he sees his rank, cold, on a slow phone: "Slow 4G" as Chromium's tools have it (562.5 ms, 1.44 Mbit/s),
// and a quarter of this machine's speed. By turns with a page that opens its socket only when its first script has come. Read in docs/rehearsal.md.
// Needs a release build, Redis, PostgreSQL, Chromium, and `npm ci` in tests/browser:
//   node benches/first_rank/bench.mjs [--rounds 9] [--round-trip 562.5] [--slower 4]
import { parseArgs } from 'node:util';
import { median } from '../machine.mjs';
import { slowLine } from './slow.mjs';

process.env.BIN ??= process.env.WAITROOM_BIN;
const { Server } = await import('../../tests/browser/harness.mjs');
const { browser } = await import('../../tests/browser/stage.mjs');

const { values: flags } = parseArgs({ options: {
  rounds: { type: 'string', default: '9' }, 'round-trip': { type: 'string', default: '562.5' }, slower: { type: 'string', default: '4' },
} });
const BYTES_PER_S = 1_440_000 / 8;
const WAITING = 20;

/** → ms from the start of the navigation until the rank is there */
async function firstRank(url, early) {
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
  await page.goto(url, { waitUntil: 'commit' });
  const ms = await page.evaluate('ranked');
  await context.close();
  return ms;
}

const server = new Server();
await server.start();
const line = await slowLine(Number(new URL(server.url).port), { roundTripMs: Number(flags['round-trip']), bytesPerS: BYTES_PER_S });
try {
  const sale = await server.sale({ phase: 'paused' });
  await server.rivals(sale, WAITING);
  const url = `http://127.0.0.1:${line.port}/sales/${sale}`;
  const seen = { early: [], late: [] };
  await firstRank(url, true); // Chromium itself starts.
  for (let round = 0; round < Number(flags.rounds); round++) {
    seen.early.push(await firstRank(url, true));
    seen.late.push(await firstRank(url, false));
  }
  const row = (name, all) => `| ${name} | ${[median(all), Math.min(...all), Math.max(...all)].map((ms) => `${(ms / 1000).toFixed(2)} s`).join(' | ')} |`;
  console.log(['| socket opened by | median | least | most |', '|---|---|---|---|', row('the page', seen.early), row('its first script', seen.late)].join('\n'));
} finally {
  line.close();
  await (await browser()).close();
  await server.stop();
}
