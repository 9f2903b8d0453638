// What the bench saw, as the table of docs/nginx.md: medians. Alone: `node benches/nginx/table.mjs results.json`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { median } from '../machine.mjs';

/** What each line is compared with. */
export const SHIPPED = 'as shipped';

const whole = (value) => (Number.isFinite(value) ? String(Math.round(value)) : '');
const fine = (value) => value.toFixed(1);
const COLUMNS = {
  'KB a socket': ({ memory }) => fine(memory / 1024),
  'MB a worker at rest': ({ rest }) => fine(rest / 1024 / 1024),
  held: ({ held }) => held,
  'fullest worker': ({ fullest }) => (fullest > 0 ? `${whole(100 * fullest)} %` : ''),
  'µs a join': ({ join }) => whole(join),
  'µs TLS anew': ({ full }) => whole(full),
  'µs TLS resumed': ({ again, resumed }) => (resumed > 0.5 ? whole(again) : ''),
  'µs a push': ({ push }) => fine(push),
  'ping p50': ({ ping50 }) => `${fine(ping50)} ms`,
  'µs a GET': ({ json }) => whole(json),
  'µs a script': ({ file }) => whole(file),
  'server: µs a push': ({ serverPush }) => fine(serverPush),
  'both, × direct': ({ push, serverPush }, direct) => ((push + serverPush) / direct).toFixed(2),
  'server: µs a GET': ({ serverJson }) => whole(serverJson),
};

export const quantile = (values, q) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];

/** Markdown of all results: `[[name, [what was seen in each run…]]…]`; the first is the way without nginx. */
export function table(results) {
  const direct = median(results[0][1].map(({ serverPush }) => serverPush));
  const cells = (all, choose) => {
    const chosen = Object.fromEntries(Object.keys(all[0]).map((key) => [key, choose(all.map((seen) => seen[key]))]));
    return Object.values(COLUMNS).map((show) => show(chosen, direct));
  };
  const rows = results.filter(([, all]) => all.length > 0).flatMap(([name, all]) => {
    const middle = [name, all.length, ...cells(all, median)];
    if (name !== SHIPPED) return [middle];
    // How far the same thing differs from itself: what differs by less is no difference.
    return [middle, ...[['… at least', 0], ['… at most', 1]].map(([what, q]) => [what, '', ...cells(all, (values) => quantile(values, q))])];
  });
  const heads = ['', 'runs', ...Object.keys(COLUMNS)];
  return [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(table(JSON.parse(readFileSync(process.argv[2], 'utf8'))));
