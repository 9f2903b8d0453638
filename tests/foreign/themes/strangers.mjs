// Who proves nothing: so many places and sockets of a network, work before a place, and so many requests. And TLS.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Refused } from '../lib/client.mjs';
import { until } from '../lib/process.mjs';
import { identity, ownStores, Server } from '../lib/world.mjs';

const file = (name) => fileURLToPath(new URL(`../../certificates/${name}.pem`, import.meta.url));
const from = (address) => ({ headers: { 'x-forwarded-for': address } });

/** What a client does with `{ challenge, bits }`: the number that makes a hash begin with so many zero bits. */
function work({ challenge, bits }) {
  const seed = createHash('sha256').update(challenge).digest();
  for (let number = 0n; ; number += 1n) {
    const eight = Buffer.alloc(8);
    eight.writeBigUInt64BE(number);
    const hash = createHash('sha256').update(seed).update(eight).digest();
    if (Math.clz32(hash.readUInt32BE(0)) >= bits) return `${challenge}.${number}`;
  }
}

/** An answer over TLS. */
function overTls(port, options) {
  return new Promise((done, failed) => {
    https.request({ host: '127.0.0.1', port, servername: 'localhost', ca: readFileSync(file('one.cert')), agent: false, ...options }, (answer) => {
      const certificate = answer.socket.getPeerCertificate().serialNumber;
      answer.resume().on('end', () => done({ status: answer.statusCode, headers: answer.headers, certificate }));
    }).on('error', failed).end();
  });
}

export default function theme(it) {
  const stores = ownStores();
  const start = async (settings) => Server.start(await stores(), { trusted_proxies: '127.0.0.1', ...settings });
  /** A server for one test. */
  const serving = (settings, test) => async () => {
    const server = await start(settings);
    try {
      await test(server);
    } finally {
      await server.child.end('SIGTERM');
    }
  };

  it('a network draws so many places; identities and place tokens are exempt', serving({ address_places: 2 }, async (server) => {
    const sale = await server.sale();
    const home = from('198.51.100.1');
    const first = await server.join(sale, {}, home);
    await server.join(sale, {}, home);
    const third = await server.connect(sale, home);
    third.send({ type: 'join' });
    const { error } = await third.closed(4429);
    assert.ok(error.after_ms > 0 && error.after_ms <= 600_000, JSON.stringify(error));
    const refused = await server.post(`/v1/sales/${sale}/places`, home);
    assert.equal(refused.status, 429, refused.text);
    assert.equal(refused.body.code, 'too_many');
    assert.ok(Number(refused.headers['retry-after']) >= 1 && Number(refused.headers['retry-after']) <= 600);
    await server.join(sale, { identity: identity('kim', sale) }, home);
    await server.join(sale, { place: first.joined.place }, home);
    await server.join(sale, {}, from('198.51.100.2'));
    // One line has 64 bits of an IPv6 address.
    for (const host of ['1', 'ffff']) await server.join(sale, {}, from(`2001:db8::${host}`));
    const neighbour = await server.connect(sale, from('2001:db8::abc'));
    neighbour.send({ type: 'join' });
    await neighbour.closed(4429);
    await server.join(sale, {}, from('2001:db8:0:1::1'));
  }));

  it('a network has so many sockets', serving({ address_sockets: 2 }, async (server) => {
    const sale = await server.sale();
    const home = from('198.51.100.1');
    const open = [await server.connect(sale, home), await server.connect(sale, home)];
    const refusal = (error) => error instanceof Refused && error.status === 429 && error.body.code === 'too_many' && error.headers['retry-after'] > 0;
    await assert.rejects(server.connect(sale, home), refusal);
    await server.connect(sale, from('198.51.100.2'));
    open[0].socket.close();
    await until('a free seat', () => server.connect(sale, home).then(() => true, () => false));
  }));

  it('work is asked for, and is worth one place', serving({ proof_of_work: 10 }, async (server) => {
    const sale = await server.sale();
    const asked = await server.connect(sale);
    asked.send({ type: 'join' });
    const { error } = await asked.closed(4429);
    assert.equal(error.code, 'proof_needed');
    assert.equal(error.proof.bits, 10);
    const proof = work(error.proof);
    const { joined } = await server.join(sale, { proof });
    // The same proof is the same visitor, wherever it is shown.
    assert.equal((await server.join(sale, { proof })).joined.place, joined.place);
    assert.equal((await server.post(`/v1/sales/${sale}/places`, { body: { proof } })).status, 200);
    const needed = await server.post(`/v1/sales/${sale}/places`);
    assert.equal(needed.status, 401, needed.text);
    assert.deepEqual([needed.body.code, needed.body.retry], ['proof_needed', true]);
    const other = work(needed.body.proof);
    assert.equal((await server.post(`/v1/sales/${await server.sale()}/places`, { body: { proof: other } })).status, 401);
    assert.equal((await server.post(`/v1/sales/${sale}/places`, { body: { proof: `${other}1` } })).status, 401);
    assert.equal((await server.post(`/v1/sales/${sale}/places`, { body: { proof: other } })).status, 201);
    await server.join(sale, { identity: identity('kim', sale) });
  }));

  it('who asks without a pause is told to wait', serving({}, async (server) => {
    const sale = await server.sale();
    const { joined } = await server.join(sale);
    const headers = { authorization: `Bearer ${joined.place}` };
    const answers = await Promise.all(Array.from({ length: 300 }, () => server.get(`/v1/sales/${sale}/places/me`, { headers })));
    const late = answers.filter(({ status }) => status === 429);
    assert.ok(late.length > 0 && answers.some(({ status }) => status === 200), `${late.length} of 300`);
    assert.ok(late.every(({ body, headers: said }) => body.code === 'too_many' && body.retry && said['retry-after'] >= 1));
  }));

  it('TLS ends in the server: versions, cookie, headers', serving({ tls_cert_file: file('one.cert'), tls_key_file: file('one.key') }, async (server) => {
    const sale = await server.sale();
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const answer = await overTls(server.port, { method: 'POST', path: `/v1/sales/${sale}/places`, minVersion: version, maxVersion: version });
      assert.equal(answer.status, 201);
      assert.match(answer.headers['strict-transport-security'], /^max-age=\d+$/);
      assert.match(answer.headers['set-cookie'][0], new RegExp(`^__Host-waitroom-${sale}=[^;]+; Path=/; Secure; HttpOnly; SameSite=Lax`));
    }
    const page = await overTls(server.port, { path: `/sales/${sale}`, headers: { host: 'shop.example' } });
    assert.match(page.headers['content-security-policy'], /connect-src 'self' wss:\/\/shop\.example;/);
    // A protocol that is not spoken, and a version that is too old, end in the handshake.
    for (const options of [{ ALPNProtocols: ['h2'] }, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }]) {
      await assert.rejects(new Promise((done, failed) => {
        const socket = tls.connect({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, done);
        socket.on('error', failed);
      }));
    }
  }));
}
