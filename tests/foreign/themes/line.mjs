// The line: ranks, taking over, coming back, leaving, and the order of grants.
import assert from 'node:assert/strict';
import { oneAfterAnother, plan, sleep, within } from '../lib/world.mjs';

export default function theme(it, world) {
  it('ranks follow the order of joins over both instances; total counts the line', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    for (let i = 0; i < 6; i++) {
      const { joined } = await (i % 2 ? world.a : world.b).join(sale);
      assert.deepEqual([joined.rank, joined.total, joined.state, joined.phase], [i, i + 1, 'waiting', 'scheduled']);
      assert.ok(Math.abs(Date.parse(joined.now) - Date.now()) < within(2000), joined.now);
      assert.equal(joined.eta_s, null, 'no honest estimate without admissions');
    }
  });

  it('who leaves moves those behind up within a second, and says nothing to those ahead', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    const visitors = [];
    for (let i = 0; i < 8; i++) visitors.push(await (i % 2 ? world.a : world.b).join(sale));
    visitors[3].send({ type: 'leave' });
    await visitors[3].expect('lapsed', { reason: 'left' });
    const left = Date.now();
    for (let i = 4; i < 8; i++) {
      const rank = await visitors[i].expect('rank', {});
      assert.deepEqual([rank.rank, rank.total], [i - 1, 7]);
      assert.ok(rank.at - left < within(1000), `after ${rank.at - left} ms`);
    }
    for (let i = 0; i < 3; i++) assert.deepEqual(await visitors[i].sofar(), [], 'nothing changed for him');
  });

  it('a join of others, and the end of those behind, sends nothing', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const first = await world.a.join(sale);
    const others = await Promise.all(Array.from({ length: 5 }, () => world.a.join(sale)));
    const witness = await world.a.join(sale);
    others[0].send({ type: 'leave' });
    await witness.expect('rank', { rank: 5 });
    assert.deepEqual(await first.sofar(), []);
  });

  it('a place token restores the place on any instance, after a cut connection too', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    await world.a.join(sale);
    const visitor = await world.a.join(sale);
    await world.a.join(sale);
    visitor.cut();
    for (const server of [world.b, world.a, world.b, world.b]) {
      const back = await server.join(sale, { place: visitor.joined.place });
      assert.deepEqual([back.joined.rank, back.joined.total, back.joined.epoch], [1, 3, visitor.joined.epoch]);
      back.cut();
    }
  });

  for (const [where, other] of [['the same instance', 'a'], ['another instance', 'b']]) {
    it(`a newer socket on ${where} takes over; the older closes 4409 within 1 s`, async () => {
      const sale = await world.a.sale({ phase: 'scheduled' });
      await world.b.knows(sale, 'scheduled');
      await world.a.join(sale);
      const older = await world.a.join(sale);
      const newer = await world[other].join(sale, { place: older.joined.place });
      const taken = Date.now();
      const close = await older.closed(4409);
      assert.ok(close.at - taken < within(1000), `after ${close.at - taken} ms`);
      assert.deepEqual([newer.joined.rank, newer.joined.total], [1, 2]);
      // The newer one is the one who hears from now on.
      await world.a.patch(sale, { phase: 'open' });
      await newer.granted();
    });
  }

  it('taken over back and forth, one socket is left, and it is the newest', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    const sockets = [await world.a.join(sale)];
    const { place } = sockets[0].joined;
    for (let i = 0; i < 6; i++) sockets.push(await (i % 2 ? world.a : world.b).join(sale, { place }));
    const newest = sockets.pop();
    await Promise.all(sockets.map((socket) => socket.closed(4409)));
    await world.a.patch(sale, { phase: 'open' });
    await newest.granted();
  });

  it('leave ends the place: the socket stays, a new join goes to the end, the old token does not come back', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.join(sale);
    const other = await world.a.join(sale);
    visitor.send({ type: 'leave' });
    await visitor.expect('lapsed', { reason: 'left' });
    visitor.send({ type: 'leave' }); // without a place: ignored
    assert.deepEqual(await visitor.sofar(), []);
    await other.expect('rank', { rank: 0 });
    const again = await visitor.join();
    assert.deepEqual([again.rank, again.total], [1, 2]);
    visitor.send({ type: 'leave' });
    await visitor.expect('lapsed', { reason: 'left' });
    await world.a.join(sale);
    const old = await world.a.join(sale, { place: visitor.joined.place });
    assert.deepEqual([old.joined.rank, old.joined.total], [2, 3], 'an ended place never comes back');
  });

  it('a grant is given up by leave, and its slot goes to the next', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    const first = await world.a.turn(sale);
    const second = await world.a.join(sale);
    first.send({ type: 'leave' });
    await first.expect('lapsed', { reason: 'left' });
    await second.granted();
  });

  it('grants are given in the order of the line, over both instances', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', max_active: 1 });
    await world.b.knows(sale, 'scheduled');
    const visitors = [];
    for (let i = 0; i < 10; i++) visitors.push(await (i % 3 ? world.a : world.b).join(sale));
    await world.a.patch(sale, { phase: 'open' });
    await oneAfterAnother(visitors);
  });

  it('a rank falls step by step to the grant, with an estimate', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', rate: 5, plan: plan(5, 10) });
    for (let i = 0; i < 44; i++) await world.a.join(sale);
    const last = await world.a.join(sale);
    await world.a.patch(sale, { phase: 'open' });
    await last.granted(15_000);
    const ranks = last.log.filter((message) => message.type === 'rank');
    // Of several that are due while the machine stands still the last one is told.
    assert.ok(ranks.length >= 8 && ranks.at(-1).rank <= 8, last.heard());
    const estimated = ranks.find((message) => message.eta_s);
    assert.ok(estimated, `no estimate: ${last.heard()}`);
    const due = (last.grant.at - estimated.at) / 1000;
    assert.ok(estimated.eta_s[1] >= due - 6, `${due} s after it said ${estimated.eta_s}`);
    assert.ok(estimated.eta_s[0] <= due + 1, `${due} s after it said ${estimated.eta_s}`);
  });

  it('on a re-join the grant is said again, with the time that is left', async () => {
    const sale = await world.a.sale();
    await world.b.knows(sale);
    const visitor = await world.a.turn(sale);
    assert.ok(visitor.grant.expires_in_ms <= 30_000 && visitor.grant.expires_in_ms > 30_000 - within(10_000));
    assert.ok(visitor.grant.claim_in_ms <= 30_000 && visitor.grant.claim_in_ms > 30_000 - within(10_000));
    await sleep(1000);
    const back = await world.b.join(sale, { place: visitor.joined.place });
    assert.deepEqual([back.joined.state, back.joined.rank], ['granted', 0]);
    await back.granted();
    assert.equal(back.grant.max_seats, 4);
    assert.ok(back.grant.expires_in_ms < visitor.grant.expires_in_ms - 700);
    // Both tokens stand for the same grant.
    const booking = await back.redeem({ token: visitor.grant.token, seats: ['A-1'] });
    assert.equal(booking.type, 'booking');
    assert.equal((await back.redeem({ token: back.grant.token, seats: ['A-2'] })).booking, booking.booking);
  });

  it('the conversation of the contract', async () => {
    const sale = await world.a.sale({ max_active: 1, hold_ttl_s: 60 });
    const ahead = await world.a.turn(sale);
    const visitor = await world.a.join(sale);
    assert.deepEqual([visitor.joined.state, visitor.joined.rank, visitor.joined.total], ['waiting', 0, 1]);
    ahead.send({ type: 'leave' });
    await visitor.granted();
    const { version } = await visitor.seatMap();
    const booking = await visitor.redeem({ request: 'r2', best: { count: 2, category: 'VIP', together: true } });
    assert.deepEqual([booking.status, booking.together, version >= 1], ['held', true, true]);
    const confirmed = await world.a.admin('POST', `/bookings/${booking.booking}/confirm`);
    assert.equal(confirmed.status, 200);
    const news = await visitor.expect('booking', { status: 'confirmed' });
    assert.deepEqual([news.booking, news.seats, 'request' in news], [booking.booking, booking.seats, false]);
    const back = await world.a.join(sale, { place: visitor.joined.place });
    assert.deepEqual([back.joined.place, back.joined.state], [null, 'booked']);
    await back.expect('booking', { booking: booking.booking, status: 'confirmed' });
  });
}
