// Runs every theme, several at once, against two servers over one Redis and one PostgreSQL.
// `FOREIGN_ONLY=line,seats npm test` runs only these.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { violations } from './lib/client.mjs';
import { made, startWorld, stopWorld, world } from './lib/world.mjs';

const only = process.env.FOREIGN_ONLY?.split(',');
// The longest first.
const FIRST = ['pace', 'faults', 'drain'];
const names = readdirSync(new URL('./themes/', import.meta.url)).map((file) => file.replace('.mjs', ''))
  .sort((a, b) => FIRST.includes(b) - FIRST.includes(a) || a.localeCompare(b));
const themes = [];
for (const name of names.filter((name) => !only || only.includes(name))) {
  const { default: theme } = await import(`./themes/${name}.mjs`);
  themes.push([name, theme]);
}
assert.ok(themes.length > 0, `no such theme; there are ${names}`);

before(startWorld);
after(stopWorld);

describe('waitroom from outside', { concurrency: 4 }, () => {
  for (const [name, theme] of themes) {
    describe(name, { concurrency: theme.concurrency ?? 4 }, () => {
      theme((what, test, options) => it(what, { timeout: 120_000, ...options }, async () => {
        // What a test leaves open must not slow the others down.
        const sales = [];
        await made.run(sales, test);
        await Promise.all(sales.map(([server, id]) => server.admin('PATCH', `/sales/${id}`, { phase: 'closed' }).catch(() => {})));
      }), world);
    });
  }
});

it('no client heard anything that the contract forbids', () => assert.deepEqual(violations, []));
