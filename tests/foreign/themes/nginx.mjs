// deploy/nginx, as it is shipped, before real instances, and before an upstream that tells what reached it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { brotliDecompressSync } from 'node:zlib';
import { Nginx } from '../lib/nginx.mjs';
import { freePort } from '../lib/process.mjs';
import { Server, call, ownStores, until } from '../lib/world.mjs';

const SETTINGS = { trusted_proxies: '127.0.0.1', drain_s: 4 };
const at = (server) => `127.0.0.1:${server.port}`;

/** An upstream that keeps what it was asked, and answers as told. */
async function upstream(answer = (request, response) => response.end('{}')) {
  const asked = [];
  const connections = new Set();
  const server = http.createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  }).listen(0, '127.0.0.1');
  server.keepAliveTimeout = 600_000; // nginx decides
  server.on('connection', (socket) => connections.add(socket));
  await once(server, 'listening');
  const end = () => { server.close(); server.closeAllConnections(); };
  return { asked, connections, end, address: `127.0.0.1:${server.address().port}` };
}

/** With an nginx that ends with the test, whatever becomes of it. */
async function behind(options, test) {
  const nginx = await Nginx.start(options);
  try {
    return await test(nginx);
  } finally {
    await nginx.end();
  }
}

/** Holds for the configuration as shipped, and not once `from` is `to`: then the check itself is seen to work. */
async function holds(check, from, to, answer) {
  const echo = await upstream(answer);
  await behind({ blue: [echo.address] }, (nginx) => check(nginx, echo));
  const edit = (text) => text.replace(from, to);
  await assert.rejects(behind({ blue: [echo.address], edit }, (nginx) => check(nginx, echo)), assert.AssertionError, `${from} matters`);
  echo.end();
}

export default function theme(it) {
  const own = ownStores();
  const server = () => own().then((stores) => Server.start(stores, SETTINGS));
  let instance;
  const shared = () => (instance ??= server());

  it('nginx -t is content', () => behind({}, async (nginx) => {
    const { code, output } = await nginx.test();
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /\[(warn|error|emerg|alert)\]/, output);
    const broken = await behind({}, (other) => {
      other.put('active.conf', [['default waitroom_blue;', 'default waitroom_blue']]);
      return other.test();
    });
    assert.equal(broken.code, 1, broken.output);
  }));

  it('page, static files pressed and kept, and from http to https', async () => {
    const sale = await (await shared()).sale();
    await behind({ blue: [at(await shared())] }, async (nginx) => {
      const page = await nginx.ask('GET', `/sales/${sale}`, { json: false });
      assert.equal(page.status, 200);
      const [path] = page.text.match(/\/static\/[^"]+\.mjs/);
      const pressed = await nginx.ask('GET', path, { headers: { 'accept-encoding': 'gzip, br' } });
      assert.equal(pressed.headers['content-encoding'], 'br');
      assert.match(pressed.headers['cache-control'], /immutable/);
      const plain = await nginx.ask('GET', path);
      assert.equal(plain.headers['content-encoding'], undefined);
      assert.deepEqual(brotliDecompressSync(pressed.bytes), plain.bytes);
      const known = await nginx.ask('GET', path, { headers: { 'if-none-match': plain.headers.etag } });
      assert.equal(known.status, 304);
      const moved = await call(nginx.plainPort, 'GET', `/sales/${sale}?a=b`, { json: false });
      assert.deepEqual([moved.status, moved.headers.location], [301, `https://tickets.example.com/sales/${sale}?a=b`]);
      // The cookie is for TLS alone, since waitroom takes nginx's word.
      const joined = await nginx.ask('POST', `/v1/sales/${sale}/places`);
      assert.equal(joined.status, 201, joined.text);
      assert.match(joined.headers['set-cookie'][0], /; Secure/);
    });
  });

  it('a visitor waits, hears, has his turn and books; a foreign page may not open a socket', async () => {
    const server = await shared();
    const sale = await server.sale({ phase: 'scheduled' });
    await behind({ blue: [at(server)] }, async (nginx) => {
      const visitor = await nginx.join(sale, {}, { origin: `https://127.0.0.1:${nginx.port}` });
      // Nothing follows it that could push it through a buffer.
      await server.patch(sale, { notice: 'soon' });
      await visitor.expect('notice', { text: 'soon' });
      await server.patch(sale, { phase: 'open' });
      await visitor.granted();
      assert.equal((await visitor.redeem({ seats: ['A-1'] })).type, 'booking');
      await assert.rejects(nginx.join(sale, {}, { origin: 'https://evil.example' }), (error) => error.status === 403);
      visitor.close();
    });
  });

  it('the visitor\'s address is the one that nginx sees, whatever he says himself', async () => {
    const said = { 'x-forwarded-for': '6.6.6.6', 'x-real-ip': '6.6.6.6', forwarded: 'for=6.6.6.6', 'x-forwarded-proto': 'http', host: 'tickets.example.com' };
    const heard = async (nginx, echo, headers) => {
      await nginx.ask('GET', '/v1/sales', { headers });
      return echo.asked.at(-1).headers;
    };
    await holds(async (nginx, echo) => {
      const headers = await heard(nginx, echo, said);
      assert.equal(headers['x-forwarded-for'], '127.0.0.1');
      assert.equal(headers['x-forwarded-proto'], 'https');
      assert.equal(headers.host, 'tickets.example.com');
      assert.ok(!JSON.stringify(headers).includes('6.6.6.6'), JSON.stringify(headers));
    }, 'X-Forwarded-For $remote_addr', 'X-Forwarded-For $proxy_add_x_forwarded_for');
    // The lines that the comment gives to whoever is behind a balancer.
    const echo = await upstream();
    const edit = (text) => text.replace(/# +(set_real_ip_from) \S+; (real_ip_header .*)/, '\n$1 127.0.0.1; $2');
    await behind({ blue: [echo.address], edit }, async (nginx) => {
      const headers = await heard(nginx, echo, { 'x-forwarded-for': '6.6.6.6, 198.51.100.7' });
      assert.equal(headers['x-forwarded-for'], '198.51.100.7');
    });
    echo.end();
  });

  it('connections to waitroom are kept, also over a colour that is a variable', () => holds(async (nginx, echo) => {
    echo.connections.clear();
    for (let i = 0; i < 20; i++) await nginx.ask('GET', '/v1/sales');
    // One for each worker.
    assert.ok(echo.connections.size <= 2, `${echo.connections.size} connections for 20 requests`);
    assert.equal(echo.asked.at(-1).headers.upgrade, undefined);
  }, '"" "";', '"" close;'));

  it('a session is resumed, also after a reload, and in both versions of TLS', () => holds(async (nginx) => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const socket = await nginx.connect({ maxVersion });
      // TLS 1.3 gives it after the handshake, as soon as something is read.
      const given = maxVersion === 'TLSv1.2' ? [socket.getSession()] : once(socket, 'session');
      socket.resume().write('GET /v1/sales HTTP/1.1\r\nHost: a\r\n\r\n');
      const [session] = await given;
      const old = nginx.workers();
      await nginx.reload();
      await nginx.retired(old);
      const again = await nginx.connect({ maxVersion, session });
      assert.ok(again.isSessionReused(), `${maxVersion} is resumed`);
      again.destroy();
    }
  }, 'ssl_session_tickets off;', 'ssl_session_tickets on;'));

  it('nothing waits for more: half of an answer goes on', async () => {
    const answer = (request, response) => {
      if (request.url !== '/half') return response.end('{}');
      return response.writeHead(200, { 'content-length': 1000 }).write('half');
    };
    let patience = 25_000;
    await holds(async (nginx) => {
      const socket = await nginx.connect();
      let heard = '';
      socket.on('data', (part) => { heard += part; });
      socket.write('GET /half HTTP/1.1\r\nHost: a\r\n\r\n');
      const came = await until('half', () => heard.includes('half'), patience).catch(() => false);
      socket.destroy();
      patience = 1000; // for the second, in which nothing is to come
      assert.ok(came);
    }, 'proxy_buffering off;', 'proxy_buffering on;', answer);
  });

  it('the other colour serves newcomers, and open sockets stay until their instance sends them on', async () => {
    const [blue, green] = await Promise.all([server(), server()]);
    const sale = await blue.sale({ phase: 'scheduled' });
    await green.knows(sale, 'scheduled');
    const sockets = async (instance) => (await instance.show(sale)).connections;
    await behind({ blue: [at(blue)], green: [at(green)] }, async (nginx) => {
      const early = await nginx.join(sale);
      assert.deepEqual([await sockets(blue), await sockets(green)], [1, 0]);
      const old = nginx.workers();
      await nginx.activate('green');
      const late = await nginx.join(sale);
      assert.equal(late.joined.rank, 1);
      assert.deepEqual([await sockets(blue), await sockets(green)], [1, 1]);
      await green.patch(sale, { notice: 'both hear this' });
      for (const visitor of [early, late]) await visitor.expect('notice', { text: 'both hear this' });
      blue.child.signal('SIGTERM');
      await early.expect('reconnect');
      await early.closed(1012);
      const back = await nginx.join(sale, { place: early.joined.place });
      assert.equal(back.joined.rank, 0);
      assert.equal((await blue.child.exit).code, 0, blue.child.output);
      await until('the old workers to end', () => nginx.workers().every((pid) => !old.includes(pid)));
      await until('both on green', async () => await sockets(green) === 2);
      await nginx.activate('green'); // and once more, with nothing changed
      await late.sofar();
      [back, late].forEach((visitor) => visitor.close());
    });
    await green.child.end('SIGKILL');
  });

  it('an instance that is gone or says 503 is passed over, and no POST is sent twice', async () => {
    const gone = `127.0.0.1:${await freePort()}`;
    const away = await upstream((request, response) => response.writeHead(503, { 'retry-after': '5' }).end('{"code":"unavailable"}'));
    const good = await upstream();
    await behind({ blue: [gone, good.address] }, async (nginx) => {
      for (let i = 0; i < 12; i++) {
        assert.equal((await nginx.ask('GET', '/v1/sales')).status, 200);
        assert.equal((await nginx.ask('POST', '/v1/sales/x/places', { body: {} })).status, 200, 'it was not sent yet');
      }
    });
    await behind({ blue: [away.address, good.address], edit: (text) => text.replaceAll('fail_timeout=2s', 'fail_timeout=0') }, async (nginx) => {
      for (let i = 0; i < 12; i++) assert.equal((await nginx.ask('GET', '/v1/sales')).status, 200);
      assert.ok(away.asked.length > 0, 'who says 503 was asked');
      [away, good].forEach(({ asked }) => asked.splice(0));
      const answers = await Promise.all(Array.from({ length: 24 }, () => nginx.ask('POST', '/v1/sales/x/places', { body: {} })));
      const posts = ({ asked }) => asked.filter(({ method }) => method === 'POST').length;
      assert.equal(posts(away) + posts(good), 24);
      assert.equal(answers.filter(({ status }) => status === 503).length, posts(away));
    });
    [away, good].forEach((one) => one.end());
  });

  it('when nobody of the colour answers, nginx says so as waitroom would', async () => {
    const echo = await upstream();
    await behind({ blue: [echo.address] }, async (nginx) => {
      echo.end();
      const { status, headers, body } = await nginx.ask('GET', '/v1/sales/x/ws', { headers: { connection: 'upgrade', upgrade: 'websocket' } });
      assert.deepEqual([status, body.code, body.retry], [503, 'unavailable', true]);
      assert.match(headers['retry-after'], /^\d+$/);
      assert.match(headers.refresh, /^\d+$/);
      assert.equal(headers['cache-control'], 'no-store');
    });
  });

  it('no token is logged', () => holds(async (nginx) => {
    const headers = { authorization: 'Bearer geheim-1', cookie: 'waitroom_visitor=geheim-2', referer: 'https://a/?geheim-3' };
    await nginx.ask('GET', '/v1/sales?ticket=geheim-4', { headers });
    await nginx.ask('GET', '/"quoted"\\', { headers });
    await nginx.child.end();
    const lines = nginx.log('access').trim().split('\n').map((line) => JSON.parse(line));
    assert.ok(lines.some(({ path, status, address }) => path.startsWith('/v1/sales') && status === 200 && address === '127.0.0.1'));
    assert.ok(!`${nginx.log('access')}${nginx.log('error')}`.includes('geheim'));
  }, '"$uri"', '"$request_uri"'));

  it('who is slow with handshake or head is let go, and waitroom never hears of a slow body', async () => {
    const echo = await upstream();
    await behind({ blue: [echo.address] }, async (nginx) => {
      const asked = echo.asked.length;
      const silent = net.connect(nginx.port, '127.0.0.1');
      const head = await nginx.connect();
      head.write('GET / HTTP/1.1\r\nHost:');
      const body = await nginx.connect();
      body.write('POST /v1/sales/x/places HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{');
      await Promise.all([silent, head, body].map((socket) => new Promise((done) => {
        socket.on('error', () => {}).on('close', done).resume();
      })));
      assert.equal(echo.asked.length, asked);
    });
    echo.end();
  });

  it('what is too big is refused before it is read', async () => {
    const echo = await upstream();
    await behind({ blue: [echo.address] }, async (nginx) => {
      const asked = echo.asked.length;
      assert.equal((await nginx.ask('POST', '/v1/sales/x/places', { body: 'x'.repeat((64 << 10) + 1) })).status, 413);
      assert.equal((await nginx.ask('GET', '/', { headers: { 'x-long': 'x'.repeat(17 << 10) } })).status, 400);
      assert.equal(echo.asked.length, asked);
    });
    echo.end();
  });
}
theme.concurrency = 4;
