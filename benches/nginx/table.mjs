// What the bench saw, as the table of docs/nginx.md: medians. Alone: `node benches/nginx/table.mjs results.json`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

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
  'dropped of the herd': ({ dropped }) => whole(dropped),
  'server: µs a push': ({ serverPush }) => fine(serverPush),
  'server: µs a GET': ({ serverJson }) => whole(serverJson),
  'server: µs a script': ({ serverFile }) => whole(serverFile),
};

export const quantile = (values, q) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];

/** Markdown of all results: `[[name, [what was seen in each run…]]…]`. */
export function table(results) {
  const cells = (all, choose) => {
    const chosen = Object.fromEntries(Object.keys(all[0]).map((key) => [key, choose(all.map((seen) => seen[key]))]));
    return Object.values(COLUMNS).map((show) => show(chosen));
  };
  const rows = results.filter(([, all]) => all.length > 0).flatMap(([name, all]) => {
    const middle = [name, ...cells(all, (values) => quantile(values, 0.5))];
    if (name !== SHIPPED) return [middle];
    // How far the same thing differs from itself: what differs by less is no difference.
    return [middle, ['… at least', ...cells(all, (values) => quantile(values, 0))], ['… at most', ...cells(all, (values) => quantile(values, 1))]];
  });
  return [['', ...Object.keys(COLUMNS)], ['', ...Object.keys(COLUMNS)].map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(table(JSON.parse(readFileSync(process.argv[2], 'utf8'))));
