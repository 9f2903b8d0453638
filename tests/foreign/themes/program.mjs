// The program: its exit statuses, its settings, and the operator's commands.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, freePort, run } from '../lib/process.mjs';
import { ADMIN_TOKEN, BINARY, IDENTITY_KEY, Server, call, cleanEnv, nextId, ownStores, plan, until } from '../lib/world.mjs';

const waitroom = (args, env = {}) => run(BINARY, args, { env: { ...cleanEnv(), ...env } });

/** Runs `serve` with these settings over the good ones; it must end before it touches the suite's stores. */
async function serve(world, settings, args = []) {
  const server = Object.assign(new Server(), { stores: world.a.stores, settings: { allow_data_loss: false, ...settings }, port: await freePort(), adminPort: await freePort() });
  const env = Object.fromEntries(Object.entries(server.env()).filter(([, value]) => value !== 'undefined'));
  return waitroom(['serve', ...args], env);
}

/** A PgBouncer before the stores' PostgreSQL; `set` gives it another mode as it runs. */
async function startPooler({ dir, postgres }, mode) {
  const port = await freePort();
  const config = join(dir, `pgbouncer-${port}.ini`);
  const write = (mode) => writeFileSync(config, `[databases]\npostgres = host=${postgres.dir} user=waitroom\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\n`
    + `unix_socket_dir =\nauth_type = any\npool_mode = ${mode}\nignore_startup_parameters = options\n`);
  write(mode);
  const child = new Child('pgbouncer', [config], { ...postgres.user, env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
  await until('PgBouncer', () => /process up/.test(child.output));
  return { child, url: `postgres://waitroom@127.0.0.1:${port}/postgres`, set: (mode) => { write(mode); child.signal('SIGHUP'); } };
}

async function ends(running, status, ...words) {
  const { code, output } = await running;
  assert.equal(code, status, output);
  for (const word of words) assert.ok(output.includes(word), `${word} in: ${output}`);
  return output;
}

export default function theme(it, world) {
  const own = ownStores();

  it('wrong usage is 64, help is 0', async () => {
    await ends(waitroom(['--help']), 0, 'serve', 'demo', 'migrate', 'sale', 'token', 'load', 'check', 'doctor');
    await ends(waitroom(['serve', '--help']), 0, '--redis-url', 'WAITROOM_');
    await ends(waitroom(['--version']), 0);
    for (const args of [[], ['no-such-command'], ['serve', '--no-such-flag'], ['serve', 'extra'], ['sale'], ['sale', 'no-such']]) await ends(waitroom(args), 64);
  });

  it('bad settings are 78, and named', async () => {
    const bad = {
      listen: 'here', admin_listen: '1', redis_url: 'http://x', postgres_url: 'mysql://x', postgres_pool: '0', signing_keys: 'k1',
      identity_key: 'short', allowed_origins: 'shop', trusted_proxies: '1.2.3.4/99', drain_s: '0', redis_replicas: '-1', allow_data_loss: 'perhaps',
    };
    await Promise.all(Object.entries(bad).map(([key, value]) => ends(serve(world, { [key]: value }), 78, key)));
    for (const key of ['redis_url', 'postgres_url', 'signing_keys', 'admin_token']) await ends(serve(world, { [key]: undefined }), 78, key);
    await ends(waitroom(['serve'], { WAITROOM_NO_SUCH: '1' }), 78, 'no_such');
  });

  it('a file with settings: unknown keys are named; flag, variable, file, in this order', async () => {
    const dir = join(world.a.stores.dir, 'settings');
    mkdirSync(dir);
    const file = (name, text) => { writeFileSync(join(dir, name), text); return join(dir, name); };
    await ends(serve(world, {}, ['--config', join(dir, 'missing.toml')]), 74, 'missing.toml');
    await ends(serve(world, {}, ['--config', file('unknown.toml', 'redis_ulr = "x"\n')]), 78, 'redis_ulr');
    await ends(serve(world, { drain_s: undefined }, ['--config', file('bad.toml', 'drain_s = 99999\n')]), 78, 'drain_s');
    await ends(serve(world, { drain_s: 99_999 }, ['--config', file('good.toml', 'drain_s = 3\n')]), 78, 'drain_s');
    await ends(serve(world, { drain_s: 3 }, ['--drain-s', '99999']), 78);
    await ends(serve(world, { admin_token: undefined, admin_token_file: join(dir, 'no-token') }), 74, 'no-token');
  });

  it('stores that cannot be reached are 69', async () => {
    const port = await freePort();
    const redis = await ends(serve(world, { redis_url: `redis://:geheim@127.0.0.1:${port}` }), 69, 'Redis');
    const postgres = await ends(serve(world, { postgres_url: `postgres://me:geheim@127.0.0.1:${port}/x` }), 69, 'PostgreSQL');
    for (const output of [redis, postgres]) assert.ok(!output.includes('geheim'), 'secrets are never printed');
    await ends(waitroom(['sale', 'list', '--admin-listen', `127.0.0.1:${port}`, '--admin-token', ADMIN_TOKEN]), 69);
  });

  it('a Redis that keeps nothing or evicts is refused, unless that is allowed', async () => {
    for (const [i, args] of [['--appendonly', 'no'], ['--appendonly', 'yes', '--maxmemory-policy', 'allkeys-lru', '--maxmemory', '100mb']].entries()) {
      const dir = join(world.a.stores.dir, `redis-${i}`);
      mkdirSync(dir);
      const socket = join(dir, 's');
      const redis = new Child('redis-server', ['--port', '0', '--unixsocket', socket, '--dir', dir, '--save', '', ...args]);
      const redis_url = `redis+unix://${socket}`;
      await until('Redis', () => redis.output.includes('Ready to accept') || redis.output.includes('ready to accept'));
      await ends(serve(world, { redis_url }), 78, 'allow_data_loss');
      const server = await Server.start({ ...await own(), redis: { url: redis_url } }, { allow_data_loss: true });
      await server.child.end('SIGKILL');
      await redis.end('SIGKILL');
    }
  });

  it('migrate is 0, also when there is nothing to do', async () => {
    const env = { WAITROOM_POSTGRES_URL: world.a.stores.postgres.url };
    await ends(waitroom(['migrate'], env), 0);
    await ends(waitroom(['migrate'], env), 0);
  });

  it('a pooler that lends out sessions is refused by migrate, serve and doctor', async () => {
    for (const mode of ['statement', 'transaction']) {
      const pooler = await startPooler(world.a.stores, mode);
      await ends(waitroom(['migrate'], { WAITROOM_POSTGRES_URL: pooler.url }), 78, 'postgres_url', 'directly');
      await ends(serve(world, { postgres_url: pooler.url }), 78, 'postgres_url', 'directly');
      const found = await ends(waitroom(['doctor'], { WAITROOM_POSTGRES_URL: pooler.url, WAITROOM_REDIS_URL: world.a.stores.redis.url }), 78, 'postgres_url', 'directly');
      assert.match(found, /version [0-9.]+.*, at postgres:/);
      await pooler.child.end('SIGKILL');
    }
  });

  it('a pooler that begins to lend out sessions while the server runs: not ready, until it is right again', async () => {
    const stores = await own();
    const pooler = await startPooler(stores, 'session');
    const server = await Server.start(stores, { postgres_url: pooler.url });
    const answers = (wanted) => until(`/readyz ${wanted}`, async () => (await call(server.adminPort, 'GET', '/readyz')).status === wanted);
    pooler.set('transaction');
    await answers(503);
    assert.match((await call(server.adminPort, 'GET', '/readyz')).text, /PostgreSQL cannot be used/);
    assert.match(server.child.output, /PostgreSQL cannot be used: a pooler in transaction or statement mode/);
    pooler.set('session');
    await answers(200);
    const sale = await server.sale();
    const visitor = await server.turn(sale);
    await visitor.redeem({ seats: ['A-1'] });
    await server.child.end();
    await pooler.child.end('SIGKILL');
  });

  it('sale: an operator goes through a whole sale by commands', async () => {
    const env = { WAITROOM_ADMIN_LISTEN: `127.0.0.1:${world.a.adminPort}`, WAITROOM_ADMIN_TOKEN: ADMIN_TOKEN };
    const hall = join(world.a.stores.dir, 'hall.json');
    writeFileSync(hall, JSON.stringify(plan(2, 10)));
    const help = (await waitroom(['sale', 'create', '--help'])).output;
    assert.match(help, /--plan/);
    const id = nextId();
    const positional = /Usage:.*<[A-Z]+>/.test(help);
    const args = [...(positional ? [id] : ['--id', id]), '--name', 'A show', '--plan', hall, '--rate', '50', '--max-active', '10', '--grant-ttl-s', '30', '--max-seats', '2', '--anonymous'];
    await ends(waitroom(['sale', 'create', ...args], env), 0, id);
    await ends(waitroom(['sale', 'list'], env), 0, id);
    await ends(waitroom(['sale', 'open', id], env), 0);
    const visitor = await world.a.turn(id);
    const { booking } = await visitor.redeem({ seats: ['A-1'] });
    await ends(waitroom(['sale', 'bookings', id], env), 0, booking);
    await ends(waitroom(['sale', 'notice', id, 'Please wait'], env), 0);
    await visitor.expect('notice', { text: 'Please wait' });
    await ends(waitroom(['sale', 'set', id, '--rate', '7'], env), 0);
    assert.equal((await world.a.show(id)).rate, 7);
    await ends(waitroom(['sale', 'pause', id], env), 0);
    await ends(waitroom(['sale', 'show', id], env), 0, 'paused');
    await ends(waitroom(['sale', 'close', id, '--yes'], env), 0);
    await visitor.closed(4410);
    await ends(waitroom(['sale', 'open', id], env), 64);
    await ends(waitroom(['sale', 'show', 'no-such-sale'], env), 64);
  });

  it('token: an identity that the server takes', async () => {
    const sale = await world.a.sale({ anonymous: false });
    const help = (await waitroom(['token', '--help'])).output;
    const named = (flag) => help.includes(`--${flag}`);
    const args = [...(named('sale') ? ['--sale', sale] : [sale]), ...(named('visitor') ? ['--visitor', 'ann'] : named('sub') ? ['--sub', 'ann'] : ['ann'])];
    const { code, output } = await waitroom(['token', ...args], { WAITROOM_IDENTITY_KEY: IDENTITY_KEY });
    assert.equal(code, 0, output);
    const identity = output.trim().split(/\s+/).find((word) => word.split('.').length === 3);
    const visitor = await world.a.turn(sale, { identity });
    await visitor.redeem({ seats: ['A-1'] });
    assert.equal(JSON.parse((await world.a.admin('GET', `/sales/${sale}/bookings`)).text).visitor, 'ann');
  });

  it('doctor says what it found, and what to change', async () => {
    const env = { WAITROOM_REDIS_URL: world.a.stores.redis.url, WAITROOM_POSTGRES_URL: world.a.stores.postgres.url };
    const { output } = await waitroom(['doctor'], { ...env, WAITROOM_ADMIN_TOKEN: ADMIN_TOKEN, WAITROOM_SIGNING_KEYS: 'k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=' });
    for (const word of [/redis/i, /postgres/i, /append.?only|AOF/i, /noeviction/, /open files|nofile/i]) assert.match(output, word);
    assert.ok(!output.includes(ADMIN_TOKEN));
    assert.equal((await call(world.a.adminPort, 'GET', '/livez')).status, 200);
  });
}
