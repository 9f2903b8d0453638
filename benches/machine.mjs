// What the benches in Node read of the machine and of a server. It says which build the servers of tests/foreign start: import it before them.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.env.WAITROOM_BIN ??= fileURLToPath(new URL('../target/release/waitroom', import.meta.url));

/** CPU time of processes in µs, all threads, as the scheduler counts it. */
export function cpu(pids) {
  const threads = pids.flatMap((pid) => readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}/schedstat`));
  return threads.map((path) => Number(readFileSync(path, 'utf8').split(' ')[0])).reduce((sum, ns) => sum + ns, 0) / 1000;
}

/** Memory of their own, in bytes: without what they share, such as the cache of TLS sessions. */
export function memory(pids) {
  const own = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/RssAnon:\s+(\d+)/)[1]) * 1024;
  return pids.reduce((sum, pid) => sum + own(pid), 0);
}

/** How many ranks it has sent so far. */
export async function pushes(server) {
  const text = await (await fetch(`http://127.0.0.1:${server.adminPort}/metrics`)).text();
  return Number(text.match(/^waitroom_rank_pushes_total(?:\{[^}]*\})? (\d+)/m)?.[1] ?? 0);
}

export const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.ceil(sorted.length / 2) - 1] + sorted[Math.floor(sorted.length / 2)]) / 2;
};
