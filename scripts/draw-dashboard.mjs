// Draws a dashboard of grafana/ without Grafana: every panel's queries, asked of Prometheus, as one SVG.
// node scripts/draw-dashboard.mjs DASHBOARD.json PROMETHEUS_URL SALE FROM TO OUT.svg   (FROM, TO: seconds since 1970)
import { readFileSync, writeFileSync } from 'node:fs';

const [dashboard, prometheus, sale, from, to, out] = process.argv.slice(2);
if (!out) {
  console.error('usage: draw-dashboard.mjs DASHBOARD.json PROMETHEUS_URL SALE FROM TO OUT.svg');
  process.exit(64);
}
const COLUMN = 40; // pixels a grid column of 24
const ROW = 26; // pixels a grid row
const COLOURS = ['#2563eb', '#dc2626', '#059669', '#d97706', '#7c3aed', '#0891b2', '#be185d', '#4d7c0f', '#475569', '#a16207'];
const [start, end] = [Number(from), Number(to)];

async function ask(expr) {
  const query = expr.replaceAll('$sale', sale).replaceAll('$__rate_interval', '5s');
  const step = Math.max(0.5, (end - start) / 200);
  const parameters = new URLSearchParams({ query, start, end, step });
  const answer = await (await fetch(`${prometheus}/api/v1/query_range?${parameters}`)).json();
  if (answer.status !== 'success') throw new Error(`${query}: ${answer.error}`);
  return answer.data.result;
}

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);
const shown = (value, unit) => {
  const round = (v) => String(Number(v.toPrecision(3)));
  if (unit === 's') return value < 1 ? `${round(value * 1000)} ms` : `${round(value)} s`;
  if (unit === 'bytes') return `${round(value / 2 ** 20)} MiB`;
  return round(value) + (unit === 'cps' ? ' /s' : '');
};

async function panel({ title, gridPos, targets, fieldConfig }) {
  const unit = fieldConfig.defaults.unit;
  const series = [];
  for (const { expr, legendFormat } of targets) {
    for (const { metric, values } of await ask(expr)) {
      // Which port a test's server got tells nothing.
      const name = legendFormat.replace(/\{\{(\w+)\}\}/g, (_, key) => (key === 'instance' ? 'an instance' : metric[key] ?? ''));
      const points = values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value));
      series.push({ name, points });
    }
  }
  const [width, height] = [gridPos.w * COLUMN - 12, gridPos.h * ROW - 12];
  const legendLines = Math.ceil(series.length / Math.max(1, Math.floor(width / 150)));
  const box = { left: 52, top: 26, right: width - 10, bottom: height - 12 - 14 * legendLines };
  const top = (Math.max(0, ...series.flatMap(({ points }) => points.map(([, value]) => value))) || 1) * 1.05;
  const x = (at) => box.left + ((at - start) / (end - start)) * (box.right - box.left);
  const y = (value) => box.bottom - (value / top) * (box.bottom - box.top);
  const lines = [0, 0.5, 1].map((share) => {
    const at = y(top * share).toFixed(1);
    return `<path d="M${box.left} ${at}H${box.right}" stroke="#e2e8f0"/><text x="${box.left - 4}" y="${at}" dy="4" text-anchor="end">${shown(top * share, unit)}</text>`;
  });
  const plots = series.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map(([at, value], k) => `${k ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    const perLine = Math.max(1, Math.floor(width / 150));
    const [left, line] = [8 + (i % perLine) * 150, box.bottom + 16 + Math.floor(i / perLine) * 14];
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/><rect x="${left}" y="${line - 8}" width="8" height="8" fill="${colour}"/><text x="${left + 12}" y="${line}">${escape(name)}</text>`;
  });
  return `<g transform="translate(${gridPos.x * COLUMN + 6} ${gridPos.y * ROW + 6})"><rect width="${width}" height="${height}" rx="4" fill="#fff" stroke="#cbd5e1"/><text x="8" y="16" font-weight="bold">${escape(title)}</text>${lines.join('')}${plots.join('')}</g>`;
}

const { panels } = JSON.parse(readFileSync(dashboard, 'utf8'));
const drawn = [];
for (const each of panels) drawn.push(await panel(each));
const rows = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
writeFileSync(
  out,
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${24 * COLUMN} ${rows * ROW}" font-family="sans-serif" font-size="11" fill="#0f172a"><rect width="100%" height="100%" fill="#f1f5f9"/>\n${drawn.join('\n')}\n</svg>\n`,
);
