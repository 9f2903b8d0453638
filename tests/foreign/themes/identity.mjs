// Who a visitor is: identities of the shop, cookies, place tokens, and the doors before the upgrade.
import assert from 'node:assert/strict';
import { ERROR, fault } from '../lib/schema.mjs';
import { call, identity } from '../lib/world.mjs';

async function refused(server, sale, fields, options) {
  const visitor = await server.connect(sale, options);
  visitor.send({ type: 'join', ...fields });
  await visitor.closed(4401);
}

/** The upgrade is answered with that status instead, and with a proper error. */
async function noUpgrade(server, sale, status, options) {
  await assert.rejects(server.connect(sale, options), (error) => {
    assert.equal(error.status, status, error.message);
    assert.equal(fault(error.body, ERROR), undefined);
    return true;
  });
}

const cookieOf = (response) => response.headers['set-cookie'][0].split(';')[0];

export default function theme(it, world) {
  it('an identity of the shop is a visitor: the same one on every socket, by name in the export', async () => {
    const sale = await world.a.sale({ anonymous: false });
    const first = await world.a.join(sale, { identity: identity('ann', sale) });
    const other = await world.a.join(sale, { identity: identity('bob', sale) });
    await first.granted();
    const booking = await first.redeem({ seats: ['A-1'] });
    const again = await world.a.join(sale, { identity: identity('ann', sale, { exp: 60 }) });
    assert.equal(again.joined.state, 'booked');
    await again.expect('booking', { booking: booking.booking });
    await first.closed(4409);
    assert.equal((await other.granted()).max_seats, 4);
    const { text } = await world.a.admin('GET', `/sales/${sale}/bookings`);
    assert.equal(JSON.parse(text.trim()).visitor, 'ann');
  });

  it('an identity that is expired, for another sale, forged or half is refused with 4401', async () => {
    const sale = await world.a.sale();
    const good = identity('ann', sale);
    const [header, payload, mac] = good.split('.');
    const bad = {
      expired: identity('ann', sale, { exp: -60 }),
      'another sale': identity('ann', 'another-sale'),
      'another key': identity('ann', sale, { key: 'another key of the same length, yes' }),
      'alg none': identity('ann', sale, { alg: 'none' }),
      'alg none with a mac': identity('ann', sale, { alg: 'none' }) + mac,
      'alg RS256 with the same mac': identity('ann', sale, { alg: 'RS256' }),
      'alg HS512': identity('ann', sale, { alg: 'HS512' }),
      'no exp': identity('ann', sale, { claims: { exp: undefined } }),
      'no aud': identity('ann', undefined),
      'no sub': identity(undefined, sale),
      'empty sub': identity('', sale),
      'a sub that is too long': identity('x'.repeat(257), sale),
      'made in the future': identity('ann', sale, { claims: { iat: Math.floor(Date.now() / 1000) + 120 } }),
      'a payload exchanged': `${header}.${identity('bob', sale).split('.')[1]}.${mac}`,
      'no mac': `${header}.${payload}.`,
      'two parts': `${header}.${payload}`,
      garbage: 'garbage',
      empty: '',
    };
    for (const [what, token] of Object.entries(bad)) {
      await refused(world.a, sale, { identity: token }).catch((error) => assert.fail(`${what}: ${error.message}`));
    }
    const visitor = await world.a.join(sale, { identity: good });
    assert.equal(visitor.joined.total, 1, 'none of them drew a place');
  });

  it('a place token is proof enough when the identity has expired, but only beside its own', async () => {
    const sale = await world.a.sale({ anonymous: false, phase: 'scheduled' });
    await world.a.join(sale, { identity: identity('zoe', sale) });
    const ann = await world.a.join(sale, { identity: identity('ann', sale) });
    const { place } = ann.joined;
    for (const fields of [{ place }, { place, identity: identity('ann', sale, { exp: -60 }) }, { place, identity: identity('ann', sale) }]) {
      const back = await world.a.join(sale, fields);
      assert.equal(back.joined.rank, 1);
      assert.equal(back.joined.total, 2);
    }
    await refused(world.a, sale, { place, identity: identity('bob', sale) });
    await refused(world.a, sale, { place, identity: identity('bob', sale, { exp: -60 }) });
    await refused(world.a, sale, { place, identity: identity('ann', sale, { key: 'another key of the same length, yes' }) });
  });

  it('a place token that is forged, of another sale, or of another kind is refused', async () => {
    const [sale, other] = [await world.a.sale(), await world.a.sale()];
    const visitor = await world.a.turn(sale);
    const { place } = visitor.joined;
    const parts = place.split('.');
    const forged = [0, 1, 2].map((part) => parts.map((text, i) => (i === part ? text.slice(0, -2) + (text.endsWith('AA') ? 'BB' : 'AA') : text)).join('.'));
    for (const bad of [...forged, 'k1.x.y', '', visitor.grant.token]) await refused(world.a, sale, { place: bad });
    await refused(world.a, other, { place });
  });

  it('a sale that is not anonymous wants an identity, on the socket and over HTTP', async () => {
    const sale = await world.a.sale({ anonymous: false });
    await refused(world.a, sale, {});
    const posted = await world.a.post(`/v1/sales/${sale}/places`);
    assert.equal(posted.status, 401, posted.text);
    assert.equal(fault(posted.body, ERROR), undefined);
    const bearer = { authorization: `Bearer ${identity('ann', sale)}` };
    assert.equal((await world.a.post(`/v1/sales/${sale}/places`, { headers: bearer })).status, 201);
    assert.equal((await world.a.post(`/v1/sales/${sale}/places`, { headers: bearer })).status, 200);
    const bad = { authorization: `Bearer ${identity('ann', 'x')}` };
    assert.equal((await world.a.post(`/v1/sales/${sale}/places`, { headers: bad })).status, 401);
  });

  it('the cookie of a join over HTTP is the same visitor, there and on the socket', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const joined = await world.a.post(`/v1/sales/${sale}/places`);
    assert.equal(joined.status, 201);
    const [header] = joined.headers['set-cookie'];
    assert.match(header, /;\s*HttpOnly/i);
    assert.match(header, /;\s*SameSite=Lax/i);
    await world.a.join(sale);
    const headers = { cookie: `theme=dark; ${cookieOf(joined)}` };
    const again = await world.a.post(`/v1/sales/${sale}/places`, { headers });
    assert.deepEqual([again.status, again.body.rank, again.body.total], [200, 0, 2]);
    const visitor = await world.a.join(sale, {}, { headers });
    assert.deepEqual([visitor.joined.rank, visitor.joined.total], [0, 2]);
  });

  it('the place token beats the cookie', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const first = await world.a.post(`/v1/sales/${sale}/places`);
    const second = await world.a.post(`/v1/sales/${sale}/places`);
    const cookie = cookieOf(first);
    const me = await world.a.get(`/v1/sales/${sale}/places/me`, { headers: { cookie, authorization: `Bearer ${second.body.place}` } });
    assert.equal(me.body.rank, 1);
    const visitor = await world.a.join(sale, { place: second.body.place }, { headers: { cookie } });
    assert.equal(visitor.joined.rank, 1);
  });

  it('a cookie proves nothing in another sale, nor when it is forged', async () => {
    const [sale, other] = [await world.a.sale({ phase: 'scheduled' }), await world.a.sale({ phase: 'scheduled' })];
    const cookie = cookieOf(await world.a.post(`/v1/sales/${sale}/places`));
    await world.a.post(`/v1/sales/${other}/places`);
    const stranger = await world.a.join(other, {}, { headers: { cookie } });
    assert.equal(stranger.joined.rank, 1);
    const forged = await world.a.join(sale, {}, { headers: { cookie: `${cookie.slice(0, -4)}AAAA` } });
    assert.equal(forged.joined.rank, 1, 'the forger is not the first visitor');
    const asPlace = await world.a.connect(sale);
    asPlace.send({ type: 'join', place: cookie.slice(cookie.indexOf('=') + 1) });
    await asPlace.closed(4401);
  });

  it('a page of a foreign origin gets no socket; the own page and programs do', async () => {
    const sale = await world.a.sale();
    for (const origin of ['https://evil.example', `http://127.0.0.1:${world.a.port + 1}`, 'http://127.0.0.1', 'null']) {
      await noUpgrade(world.a, sale, 403, { origin });
    }
    const own = await world.a.join(sale, {}, { origin: `http://127.0.0.1:${world.a.port}` });
    assert.equal(own.joined.phase, 'open');
  });

  it('an unknown sale is 404 everywhere', async () => {
    await noUpgrade(world.a, 'no-such-sale', 404);
    await noUpgrade(world.a, 'NoSuchSale', 404);
    for (const path of ['', '/plan', '/places/me', '/places/me/seats']) {
      const { status, body } = await world.a.get(`/v1/sales/no-such-sale${path}`);
      assert.equal(status, 404, path);
      assert.equal(fault(body, ERROR), undefined);
    }
    assert.equal((await world.a.post('/v1/sales/no-such-sale/places')).status, 404);
  });

  it('what is no upgrade to version 13 is 426', async () => {
    const path = `/v1/sales/${await world.a.sale()}/ws`;
    const plain = await world.a.get(path);
    assert.equal(plain.status, 426);
    assert.equal(fault(plain.body, ERROR), undefined);
    const key = { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
    for (const version of ['8', '12', '14', '']) {
      const old = await call(world.a.port, 'GET', path, { headers: { ...key, 'sec-websocket-version': version } });
      assert.equal(old.status, 426, version);
      assert.equal(old.headers['sec-websocket-version'], '13');
    }
    const right = await call(world.a.port, 'GET', path, { headers: { ...key, 'sec-websocket-version': '13' } });
    assert.equal(right.status, 101);
  });

  it('the subprotocol is chosen, and nothing is compressed', async () => {
    const visitor = await world.a.join(await world.a.sale(), {}, { deflate: true, protocol: ['other', 'waitroom.v1'] });
    assert.equal(visitor.socket.protocol, 'waitroom.v1');
    assert.equal(visitor.socket.extensions, '');
  });
}
