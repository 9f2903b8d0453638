// What is switched, one at a time: `[what it is called, [[from, to]…]]`, put into whichever file of deploy/nginx has it.
import { certificate } from '../../tests/foreign/lib/nginx.mjs';

const line = (added) => [/http \{/, `http {\n    ${added}`];
const TICKETS = ['ssl_session_tickets off;', 'ssl_session_tickets on;'];
const NO_CACHE = [/ssl_session_cache .*;/, 'ssl_session_cache none;'];
const EACH_CONNECTION = ['"" "";', '"" close;'];
const LISTEN = (to) => [/listen (\S+) ssl reuseport backlog=4096;/, `listen $1 ssl ${to};`];
const EVENTS = (added) => [/events \{/, `events { ${added}`];

export const VARIANTS = [
  ['no TLS', [[/listen (\S+) ssl/, 'listen $1']], { secure: false }],
  ['nginx\'s defaults for all of these', [
    [/ssl_buffer_size .*;/, ''], [/proxy_buffer_size .*;/, ''], [/client_header_buffer_size .*;/, ''], [/proxy_buffering off;/, ''],
    TICKETS, NO_CACHE, LISTEN(''), EACH_CONNECTION, ['buffer=64k flush=5s', ''], [/proxy_socket_keepalive on;/, ''],
    [/large_client_header_buffers .*;/, ''],
  ]],
  // Memory a socket.
  ['ssl_buffer_size 16k (default)', [[/ssl_buffer_size .*;/, '']]],
  ['ssl_buffer_size 1k', [[/ssl_buffer_size .*;/, 'ssl_buffer_size 1k;']]],
  ['proxy_buffer_size 4k (default)', [[/proxy_buffer_size .*;/, '']]],
  ['client_header_buffer_size 1k (default)', [[/client_header_buffer_size .*;/, '']]],
  ['proxy_buffers 64 8k', [line('proxy_buffers 64 8k;')]],
  ['request_pool_size 1k', [line('request_pool_size 1k;')]],
  ['worker_connections 1024', [[/worker_connections .*;/, 'worker_connections 1024;']]],
  // TLS.
  ['ssl_session_tickets on', [TICKETS]],
  ['ssl_session_cache none', [NO_CACHE]],
  ['ssl_protocols TLSv1.2', [[/ssl_protocols .*;/, 'ssl_protocols TLSv1.2;']]],
  ['an RSA certificate (2048)', [], { prepare: (nginx) => certificate(`${nginx.conf}/tls`, ['rsa:2048']) }],
  ['an RSA certificate (4096)', [], { prepare: (nginx) => certificate(`${nginx.conf}/tls`, ['rsa:4096']) }],
  // Who takes newcomers in.
  ['without reuseport', [LISTEN('backlog=4096')]],
  ['backlog 511 (default)', [LISTEN('reuseport')]],
  ['listen … deferred', [LISTEN('reuseport deferred backlog=4096')]],
  ['multi_accept on', [EVENTS('multi_accept on;')]],
  ['without reuseport, multi_accept on', [LISTEN('backlog=4096'), EVENTS('multi_accept on;')]],
  ['without reuseport, accept_mutex on', [LISTEN('backlog=4096'), EVENTS('accept_mutex on;')]],
  ['worker_processes 1', [[/worker_processes 2;/, 'worker_processes 1;']]],
  ['worker_processes 4', [[/worker_processes 2;/, 'worker_processes 4;']]],
  ['worker_cpu_affinity auto', [[/worker_processes 2;/, 'worker_processes 2; worker_cpu_affinity auto;']]],
  // The way of a push or answer.
  ['proxy_buffering on (default)', [['proxy_buffering off;', 'proxy_buffering on;']]],
  ['tcp_nodelay off', [line('tcp_nodelay off;')]],
  ['proxy_socket_keepalive off (default)', [['proxy_socket_keepalive on;', '']]],
  ['no kept connections to waitroom', [EACH_CONNECTION]],
  ['access_log off', [[/access_log .*;/, 'access_log off;']]],
  ['access_log without buffer (default)', [['buffer=64k flush=5s', '']]],
  ['gzip on, for JSON and scripts', [['gzip off;', 'gzip on; gzip_proxied any; gzip_types application/json text/javascript;']]],
  ['open_file_cache max=1000', [line('open_file_cache max=1000;')]],
  ['sendfile on, tcp_nopush on', [line('sendfile on; tcp_nopush on;')]],
  ['proxy_cache for /static/', [
    line('proxy_cache_path cache keys_zone=files:1m;'),
    [/location \/ \{/, 'location /static/ { proxy_buffering on; proxy_cache files; proxy_pass http://$waitroom_colour; }\n    location / {'],
  ]],
];

/** The configuration with these changes; each must be found in one of its files. */
export function editor(changes) {
  const missing = new Set(changes);
  const edit = (text) => changes.reduce((text, change) => {
    const changed = text.replace(...change);
    if (changed !== text) missing.delete(change);
    return changed;
  }, text);
  return { edit, missing };
}
