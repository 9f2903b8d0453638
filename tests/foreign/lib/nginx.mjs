// deploy/nginx as it is shipped, running: only ports, paths, the user, the certificate and the instances are put in.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Visitor } from './client.mjs';
import { Child, freePort, run, until } from './process.mjs';
import { call } from './world.mjs';

/** The certificate is nobody's. */
const TLS = { servername: 'tickets.example.com', rejectUnauthorized: false };
/** Not everybody's PATH leads there. */
const PROGRAM = existsSync('/usr/sbin/nginx') ? '/usr/sbin/nginx' : 'nginx';
const SHIPPED = fileURLToPath(new URL('../../../deploy/nginx', import.meta.url));

/** A key and a certificate that it signed itself. */
export function certificate(dir, kind = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']) {
  mkdirSync(dir, { recursive: true });
  execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, '-nodes', '-days', '2', '-subj', '/CN=tickets.example.com',
    '-keyout', join(dir, 'privkey.pem'), '-out', join(dir, 'fullchain.pem')], { stdio: 'ignore' });
}

/** What a process calls itself; nothing once it is gone. */
function named(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** The master ends its workers, if it is given the time. */
class Master extends Child {
  signal(name) { super.signal(name === 'SIGKILL' ? 'SIGTERM' : name); }
}

export class Nginx {
  /** With instances at these addresses; `edit` may change the configuration further, `prepare` what lies beside it. */
  static async start({ blue = [], green = [], edit = (text) => text, prepare = () => {}, secure = true } = {}) {
    const nginx = new Nginx();
    nginx.dir = mkdtempSync(join(tmpdir(), 'wn-'));
    nginx.conf = join(nginx.dir, 'conf');
    cpSync(SHIPPED, nginx.conf, { recursive: true });
    mkdirSync(join(nginx.dir, 'logs'));
    certificate(join(nginx.conf, 'tls'));
    [nginx.port, nginx.plainPort] = [await freePort(), await freePort()];
    nginx.put('nginx.conf', [
      ['user www-data;', process.getuid() === 0 ? 'user root;' : ''],
      ['pid /run/nginx.pid;', `pid ${nginx.dir}/nginx.pid;`],
      ['error_log /var/log/nginx/', `error_log ${nginx.dir}/logs/`],
      ['access_log /var/log/nginx/', `access_log ${nginx.dir}/logs/`],
      ['worker_processes auto;', 'worker_processes 2;'],
      ['http {', `http {\n${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${nginx.dir}/${of};`).join('\n')}`],
    ]);
    nginx.put('site.conf', [
      ['listen 443 ', `listen 127.0.0.1:${nginx.port} `], ['listen 80 ', `listen 127.0.0.1:${nginx.plainPort} `],
      [/ *listen \[::\]:443 .*\n/, ''], [/ *listen \[::\]:80 .*\n/, ''],
    ]);
    nginx.put('colour.conf', [['listen 127.0.0.1:8079', `listen unix:${nginx.dir}/colour.sock`]]); // several run at once
    nginx.instances('blue', blue);
    nginx.instances('green', green);
    for (const file of ['nginx.conf', 'site.conf', 'upstreams/blue.conf', 'upstreams/green.conf']) nginx.#change(file, (text) => edit(text, file));
    prepare(nginx);
    nginx.tls = secure ? TLS : undefined;
    return nginx.boot();
  }

  async boot() {
    this.child = new Master(PROGRAM, [...this.#args(), '-g', 'daemon off;']);
    const answers = async () => this.child.over || (await this.ask('GET', '/v1/sales')).status;
    await until('nginx', answers);
    if (this.child.over) throw new Error(`nginx ended: ${this.child.output}\n${this.log('error')}`);
    return this;
  }

  #args() { return ['-e', join(this.dir, 'logs/error.log'), '-p', this.dir, '-c', join(this.conf, 'nginx.conf')]; }

  #change(file, change) {
    const path = join(this.conf, file);
    writeFileSync(path, change(readFileSync(path, 'utf8')));
  }

  /** Puts something else in the place of what a file must have. */
  put(file, pairs) {
    this.#change(file, (text) => pairs.reduce((text, [from, to]) => {
      assert.notEqual(text.search(typeof from === 'string' ? from.replace(/[[\]]/g, '\\$&') : from), -1, `${file} has ${from}`);
      return text.replace(from, to);
    }, text));
  }

  /** Where a colour's instances are: its one server line, for each of them. */
  instances(colour, addresses) {
    this.#change(`upstreams/${colour}.conf`, (text) => {
      const [lines] = text.match(/^( *server .*\n)+/m);
      const of = (address) => lines.split('\n')[0].replace(/server \S+/, `server ${address}`);
      return addresses.length > 0 ? text.replace(lines, `${addresses.map(of).join('\n')}\n`) : text;
    });
  }

  /** `nginx -t`, and what it says. */
  test() { return run(PROGRAM, ['-t', ...this.#args()]); }

  /** As an operator does it. */
  async reload() {
    const { code, output } = await run(PROGRAM, [...this.#args(), '-s', 'reload']);
    assert.equal(code, 0, output);
  }

  /** The other colour serves, from when its workers have taken over. */
  async activate(colour) {
    const before = this.workers();
    this.#change('active.conf', (text) => text.replace(/waitroom_\w+;/, `waitroom_${colour};`));
    await this.reload();
    await until('new workers', () => this.workers().filter((pid) => !before.includes(pid)).length >= 2);
    await this.retired(before);
  }

  /** Workers that take no newcomers any more: they are gone, or named as shutting down. */
  async retired(pids) {
    await until('the old workers to retire', () => pids.map(named).every((name) => name === '' || name.includes('shutting down')));
  }

  workers() {
    const children = readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    return children.filter((pid) => !named(pid).includes('cache'));
  }

  log(name) { return readFileSync(join(this.dir, `logs/${name}.log`), 'utf8'); }

  /** One TLS connection. */
  async connect(options = {}) {
    const socket = tls.connect({ host: '127.0.0.1', port: this.port, ...TLS, ...options });
    await once(socket, 'secureConnect');
    return socket;
  }

  /** One request over TLS, on a connection of its own. */
  ask(method, path, options) { return call(this.port, method, path, { tls: this.tls, ...options }); }

  /** A visitor through nginx who has joined. */
  async join(sale, fields = {}, options = {}) {
    const visitor = await Visitor.connect(`wss://127.0.0.1:${this.port}/v1/sales/${sale}/ws`, { tls: TLS, ...options });
    visitor.joined = await visitor.join(fields);
    return visitor;
  }

  async end() {
    await this.child.end();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
