// The way in for clients without a socket, and what anyone may know of a sale.
import assert from 'node:assert/strict';
import { seatsOf } from '../lib/client.mjs';
import { BOOKING, ERROR, GRANTED, SALE, SEAT_MAP, STANDING, fault } from '../lib/schema.mjs';
import { identity, plan, sleep, until } from '../lib/world.mjs';

const shaped = (value, shape) => assert.equal(fault(value, shape), undefined);

/** Who joins and asks over HTTP alone. */
class Poller {
  constructor(server, sale, headers) { Object.assign(this, { server, path: `/v1/sales/${sale}/places`, headers }); }

  static async join(server, sale, options) {
    const joined = await server.post(`/v1/sales/${sale}/places`, options);
    assert.ok([200, 201].includes(joined.status), joined.text);
    const poller = new Poller(server, sale, { cookie: joined.headers['set-cookie'][0].split(';')[0] });
    return Object.assign(poller, { joined: joined.body, status: joined.status });
  }

  on(server) { return Object.assign(new Poller(server, '', this.headers), { path: this.path }); }
  me() { return this.server.get(`${this.path}/me`, { headers: this.headers }); }
  seats() { return this.server.get(`${this.path}/me/seats`, { headers: this.headers }); }
  leave() { return this.server.delete(`${this.path}/me`, { headers: this.headers }); }
  redeem(body) { return this.server.post(`${this.path}/me/redeem`, { headers: this.headers, body }); }

  granted() {
    return until('the grant', async () => {
      const { body } = await this.me();
      return body.granted && body;
    });
  }
}

export default function theme(it, world) {
  it('join, poll, seats, redeem, and the booking again', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const poller = await Poller.join(world.a, sale);
    assert.equal(poller.status, 201);
    shaped(poller.joined, STANDING);
    const waiting = await poller.me();
    assert.equal(waiting.status, 200);
    shaped(waiting.body, STANDING);
    assert.deepEqual([waiting.body.granted, waiting.body.booking, waiting.body.rank], [null, null, 0]);
    assert.ok(waiting.body.refresh_s > 0);
    const early = await poller.seats();
    assert.deepEqual([early.status, early.body.reason, early.body.retry], [409, 'not_granted', false]);
    await world.a.patch(sale, { phase: 'open' });
    const { granted, state } = await poller.granted();
    assert.equal(state, 'granted');
    shaped(granted, GRANTED);
    assert.ok(granted.claim_in_ms > 0, 'a poll is no use of the turn');
    const map = await poller.seats();
    assert.equal(map.status, 200);
    shaped(map.body, SEAT_MAP);
    assert.deepEqual(seatsOf(map.body.taken), []);
    assert.equal((await poller.me()).body.granted.claim_in_ms, null, 'the map is one');
    const refused = await poller.redeem({ request: 'r0', token: granted.token, seats: ['Z-1'] });
    assert.deepEqual([refused.status, refused.body.reason, refused.body.request, refused.body.retry], [409, 'unknown_seat', 'r0', true]);
    shaped(refused.body, ERROR);
    const booked = await poller.redeem({ request: 'r1', token: granted.token, seats: ['A-1', 'A-2'] });
    assert.equal(booked.status, 200, booked.text);
    shaped(booked.body, BOOKING);
    assert.deepEqual([booked.body.request, booked.body.seats], ['r1', ['A-1', 'A-2']]);
    const again = await poller.redeem({ request: 'r2', token: granted.token, best: { count: 1 } });
    assert.deepEqual([again.body.booking, again.body.request], [booked.body.booking, 'r2']);
    const done = (await poller.me()).body;
    assert.deepEqual([done.state, done.place, done.granted, done.booking.booking], ['booked', null, null, booked.body.booking]);
    shaped(done.booking, BOOKING);
    const place = await poller.server.post(poller.path, { headers: poller.headers });
    assert.deepEqual([place.status, place.body.state], [200, 'booked']);
  });

  it('a join again is 200 with the same place, on the other instance too, by cookie, place or identity', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    await Poller.join(world.a, sale);
    const first = await Poller.join(world.a, sale);
    const headers = { authorization: `Bearer ${first.joined.place}` };
    for (const options of [{ headers: first.headers }, { headers }, { body: { place: first.joined.place } }]) {
      const again = await Poller.join(world.b, sale, options);
      assert.deepEqual([again.status, again.joined.rank, again.joined.total], [200, 1, 2]);
    }
    const ann = { body: { identity: identity('ann', sale) } };
    assert.equal((await Poller.join(world.a, sale, ann)).status, 201);
    const same = await Poller.join(world.b, sale, { headers: { authorization: `Bearer ${identity('ann', sale)}` } });
    assert.deepEqual([same.status, same.joined.rank], [200, 2]);
  });

  it('without a place: 404', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const poller = await Poller.join(world.a, sale);
    assert.equal((await poller.leave()).status, 200);
    for (const answer of [await poller.me(), await poller.seats(), await poller.leave()]) {
      assert.equal(answer.status, 404, answer.text);
      shaped(answer.body, ERROR);
    }
    const stranger = { authorization: `Bearer ${identity('nobody', sale)}` };
    assert.equal((await world.a.get(`${poller.path}/me`, { headers: stranger })).status, 404);
    const unknown = await world.a.get(`${poller.path}/me`);
    assert.equal(unknown.status, 404, 'who brings no proof at all is nobody yet');
    shaped(unknown.body, ERROR);
    const back = await Poller.join(world.a, sale, { headers: poller.headers });
    assert.deepEqual([back.status, back.joined.rank], [201, 0]);
  });

  it('leave frees the place for those behind', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const poller = await Poller.join(world.a, sale);
    const socket = await world.a.join(sale);
    await poller.leave();
    await socket.expect('rank', { rank: 0 });
  });

  it('who polls is present: the grant comes although away_s is short', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', away_s: 1, max_active: 1 });
    const poller = await Poller.join(world.a, sale);
    const socket = await world.a.join(sale);
    await sleep(2000);
    await world.a.patch(sale, { phase: 'open' });
    await poller.granted();
    assert.deepEqual((await socket.sofar()).filter((message) => message.type === 'granted'), []);
  });

  it('a missed turn is seen in the poll, and the next join is served first', async () => {
    const sale = await world.a.sale({ claim_s: 4 });
    const poller = await Poller.join(world.a, sale);
    await poller.granted();
    await until('the miss', async () => (await world.a.show(sale)).lapsed_total === 1);
    assert.equal((await poller.me()).body?.granted ?? null, null);
    const back = await Poller.join(world.a, sale, { headers: poller.headers });
    assert.ok(['waiting', 'granted'].includes(back.joined.state));
    assert.equal(back.joined.rank, 0);
    const { granted } = await poller.granted();
    const booked = await poller.redeem({ request: 'r', token: granted.token, best: { count: 1 } });
    assert.equal(booked.status, 200, booked.text);
  });

  it('again over HTTP draws a place for the rest, then 403', async () => {
    const sale = await world.a.sale({ max_seats: 2 });
    const poller = await Poller.join(world.a, sale);
    for (const seat of ['A-1', 'A-2']) {
      const { granted } = await poller.granted();
      assert.equal(granted.max_seats, seat === 'A-1' ? 2 : 1);
      assert.equal((await poller.redeem({ request: seat, token: granted.token, seats: [seat] })).status, 200);
      const again = await world.a.post(poller.path, { headers: poller.headers, body: { again: true } });
      assert.equal(again.status, seat === 'A-1' ? 201 : 403, again.text);
      if (seat === 'A-2') assert.equal(again.body.code, 'limit_reached');
    }
  });

  it('a bad body is refused with an error in words', async () => {
    const sale = await world.a.sale();
    const poller = await Poller.join(world.a, sale);
    const { granted } = await poller.granted();
    const good = { request: 'r', token: granted.token, seats: ['A-1'] };
    for (const body of ['{', '[]', ['r', granted.token, ['A-1']], {}, { ...good, extra: 1 }, { ...good, seats: [] }, { ...good, best: { count: 1 } }, { ...good, request: '' }]) {
      const answer = await poller.redeem(body);
      assert.ok(answer.status === 400 || answer.status === 422, `${JSON.stringify(body)}: ${answer.text}`);
      shaped(answer.body, ERROR);
      assert.equal(answer.body.retry, false);
    }
    for (const body of ['{', '[]', { extra: 1 }, { place: 7 }]) {
      const answer = await world.a.post(poller.path, { body });
      assert.ok(answer.status === 400 || answer.status === 422, answer.text);
      shaped(answer.body, ERROR);
    }
    const forged = await poller.redeem({ ...good, token: `${granted.token}x` });
    assert.deepEqual([forged.status, forged.body.reason, forged.body.retry], [409, 'token_invalid', false]);
    assert.equal((await poller.redeem(good)).status, 200);
  });

  it('socket and HTTP are one visitor: one place, one booking', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    await world.b.knows(sale);
    const poller = await Poller.join(world.a, sale);
    const socket = await world.b.join(sale, {}, { headers: poller.headers });
    assert.ok(socket.joined.total <= 1, 'no second place');
    await socket.granted();
    const { granted } = await poller.granted();
    const booked = await poller.redeem({ request: 'r', token: granted.token, seats: ['A-1'] });
    const told = await socket.expect('booking', { booking: booked.body.booking });
    assert.equal('request' in told, false);
    assert.equal((await socket.redeem({ seats: ['A-2'] })).booking, booked.body.booking);
  });

  it('the sale at a glance: its numbers, and their age', async () => {
    const opens_at = new Date(Date.now() + 3_600_000).toISOString();
    const sale = await world.a.sale({ phase: 'scheduled', name: 'Größe', opens_at, blocked: ['A-1'] });
    const first = (await world.a.get(`/v1/sales/${sale}`)).body;
    shaped(first, SALE);
    assert.deepEqual([first.id, first.name, first.phase, first.seats, first.seats_left, first.waiting], [sale, 'Größe', 'scheduled', 20, 19, 0]);
    assert.equal(Date.parse(first.opens_at), Date.parse(opens_at));
    await world.a.join(sale);
    await until('the place', async () => (await world.a.get(`/v1/sales/${sale}`)).body.waiting === 1);
    const ages = await Promise.all(Array.from({ length: 10 }, async () => (await world.a.get(`/v1/sales/${sale}`)).body.age_s));
    assert.ok(ages.every((age) => age <= 5), `${ages}`);
  });

  it('the plan as it was uploaded, with an ETag', async () => {
    const uploaded = { ...plan(3, 5), extra: { kept: true } };
    const sale = await world.a.sale({ plan: uploaded });
    await world.b.knows(sale);
    const answer = await world.a.get(`/v1/sales/${sale}/plan`);
    assert.match(answer.headers['content-type'], /application\/json/);
    for (const [name, value] of Object.entries(uploaded)) assert.deepEqual(answer.body[name], value, name);
    assert.deepEqual(answer.body.seats, ['A', 'B', 'C'].flatMap((row) => [1, 2, 3, 4, 5].map((seat) => `${row}-${seat}`)));
    const { etag } = answer.headers;
    assert.match(etag, /^(W\/)?"[^"]+"$/);
    const same = await world.b.get(`/v1/sales/${sale}/plan`, { headers: { 'if-none-match': etag } });
    assert.deepEqual([same.status, same.text, same.headers.etag], [304, '', etag]);
    for (const list of [`"other", ${etag}`, '*', `W/${etag}`]) {
      const { status } = await world.a.get(`/v1/sales/${sale}/plan`, { headers: { 'if-none-match': list } });
      assert.equal(status, 304, list);
    }
    assert.equal((await world.a.get(`/v1/sales/${sale}/plan`, { headers: { 'if-none-match': '"other"' } })).status, 200);
  });

  it('the pages are cacheable and set no cookie', async () => {
    const sale = await world.a.sale();
    for (const path of ['/', `/sales/${sale}`]) {
      const page = await world.a.get(path, { json: false });
      assert.equal(page.status, 200, path);
      assert.match(page.headers['content-type'], /text\/html/);
      assert.equal(page.headers['set-cookie'], undefined);
      assert.doesNotMatch(page.headers['cache-control'] ?? 'none', /no-store|private|none/);
    }
    const own = await world.a.get(`/v1/sales/${sale}/places/me`);
    assert.match(own.headers['cache-control'] ?? 'no-store', /no-store/, 'what is one\'s own is not');
  });
}
