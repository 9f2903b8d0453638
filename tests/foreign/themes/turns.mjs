// Turns that are used, missed, expired, passed over and given again.
import assert from 'node:assert/strict';
import { sleep, until, within } from '../lib/world.mjs';

async function leave(visitor) {
  visitor.send({ type: 'leave' });
  await visitor.expect('lapsed', { reason: 'left' });
}

export default function theme(it, world) {
  it('a missed turn is kept once, and served ahead of the line; the second miss ends it', async () => {
    const sale = await world.a.sale({ max_active: 1, claim_s: 4 });
    const start = Date.now();
    const late = await world.a.turn(sale);
    const [second, third] = [await world.a.join(sale), await world.a.join(sale)];
    const missed = await late.expect('lapsed', { reason: 'missed' });
    assert.ok(missed.at - start > 3900, 'not before its time');
    await second.granted();
    await second.seatMap(); // used: it does not lapse
    const back = await late.join();
    assert.deepEqual([back.state, back.rank], ['waiting', 0], 'a returned place shows rank 0');
    assert.equal((await third.sofar()).filter((message) => message.rank > 0).length, 0);
    await leave(second);
    await late.granted();
    assert.deepEqual((await third.sofar()).filter((message) => message.type === 'granted'), []);
    await late.expect('lapsed', { reason: 'expired' });
    await third.granted();
    await third.seatMap();
    const fourth = await world.a.join(sale);
    const end = await late.join();
    assert.deepEqual([end.rank, end.total], [fourth.joined.rank + 1, 2], 'a new join goes to the end');
  });

  it('a turn missed while away is taken up by the next join with the place token', async () => {
    const sale = await world.a.sale({ max_active: 2, claim_s: 4 });
    await world.b.knows(sale);
    const visitor = await world.a.turn(sale);
    visitor.cut();
    await until('the miss', async () => (await world.a.show(sale)).lapsed_total === 1);
    const back = await world.b.join(sale, { place: visitor.joined.place });
    if (back.joined.state === 'waiting') assert.equal(back.joined.rank, 0);
    await back.granted();
    const booking = await back.redeem({ seats: ['A-1'] });
    assert.equal(booking.type, 'booking');
    const old = await back.redeem({ token: visitor.grant.token, seats: ['A-2'] });
    assert.deepEqual([old.type, old.reason], ['refused', 'token_expired'], 'the first grant is another one');
  });

  it('the first use ends the claim: seats, or a redeem that is refused', async () => {
    const sale = await world.a.sale({ claim_s: 4, grant_ttl_s: 60 });
    await world.b.knows(sale);
    const [map, tried] = [await world.a.turn(sale), await world.a.turn(sale)];
    await map.seatMap();
    assert.equal((await tried.redeem({ seats: ['no such seat'] })).reason, 'unknown_seat');
    const still = await world.a.turn(sale);
    await still.expect('lapsed', { reason: 'missed' }); // both others would have lapsed before
    for (const visitor of [map, tried]) {
      assert.deepEqual((await visitor.sofar()).filter((message) => message.type === 'lapsed'), []);
      const back = await world.b.join(sale, { place: visitor.joined.place });
      assert.equal(back.joined.state, 'granted');
      assert.equal((await back.granted()).claim_in_ms, null);
      assert.equal((await back.redeem({ best: { count: 1 } })).type, 'booking');
    }
  });

  it('a grant that is used but not spent expires; a new join goes to the end', async () => {
    const sale = await world.a.sale({ max_active: 1, grant_ttl_s: 4, claim_s: 3 });
    const start = Date.now();
    const visitor = await world.a.turn(sale);
    await visitor.seatMap();
    const other = await world.a.join(sale);
    await visitor.expect('lapsed', { reason: 'expired' });
    const lived = visitor.log.at(-1).at - start;
    assert.ok(lived > 3900 && lived < within(6000), `it lived ${lived} ms`);
    await other.granted();
    const again = await visitor.join();
    assert.deepEqual([again.state, again.rank, again.total], ['waiting', 0, 1], 'behind the other, who holds the grant');
  });

  it('an ended place does not come back by its token', async () => {
    const sale = await world.a.sale({ grant_ttl_s: 4, claim_s: 4, max_active: 1 });
    const visitor = await world.a.turn(sale);
    await visitor.seatMap();
    await visitor.expect('lapsed', { reason: 'expired' });
    await world.a.patch(sale, { phase: 'paused' });
    await world.a.join(sale);
    const back = await world.a.join(sale, { place: visitor.joined.place });
    assert.deepEqual([back.joined.state, back.joined.rank], ['waiting', 1]);
  });

  it('who was absent longer than away_s is passed over, and served ahead of the line on return', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', max_active: 1, away_s: 1 });
    await world.b.knows(sale, 'scheduled');
    const away = await world.a.join(sale);
    const here = await world.b.join(sale);
    const third = await world.a.join(sale);
    away.cut();
    // Only the third has a connection there still; and then the second that he may be absent.
    await until('his end', async () => (await world.a.show(sale)).connections === 1);
    await sleep(1800);
    await world.a.patch(sale, { phase: 'open' });
    await here.granted();
    const shown = await world.a.show(sale);
    assert.deepEqual([shown.away, shown.waiting, shown.granted], [1, 1, 1]);
    const back = await world.b.join(sale, { place: away.joined.place });
    assert.deepEqual([back.joined.state, back.joined.rank], ['waiting', 0]);
    await leave(here);
    await back.granted();
    assert.deepEqual((await third.sofar()).filter((message) => message.type === 'granted'), []);
    assert.equal((await world.a.show(sale)).away, 0);
    await leave(back);
    await third.granted();
  });

  it('who was absent for less than away_s keeps his turn', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', max_active: 1, away_s: 30 });
    const short = await world.a.join(sale);
    const other = await world.a.join(sale);
    short.cut();
    await world.a.patch(sale, { phase: 'open' });
    await until('the grant', async () => (await world.a.show(sale)).granted === 1);
    assert.deepEqual((await other.sofar()).filter((message) => message.type === 'granted'), []);
    const back = await world.a.join(sale, { place: short.joined.place });
    assert.equal(back.joined.state, 'granted');
    await back.granted();
  });

  it('a long line of absent visitors does not keep those who are here', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', away_s: 1, max_active: 5 });
    const gone = await Promise.all(Array.from({ length: 60 }, () => world.a.join(sale)));
    const here = await world.a.join(sale);
    assert.equal(here.joined.rank, 60);
    gone.forEach((visitor) => visitor.cut());
    await until('the absence', async () => (await world.a.show(sale)).connections === 1);
    await until('away_s', async () => Date.now() - here.joined.at > 2000);
    await world.a.patch(sale, { phase: 'open' });
    await here.granted();
    assert.equal((await world.a.show(sale)).away, 60);
  });

  it('after a booking, again draws a place for the seats that are left, then 4403', async () => {
    const sale = await world.a.sale({ max_seats: 3 });
    await world.b.knows(sale);
    const visitor = await world.a.turn(sale);
    assert.equal(visitor.grant.max_seats, 3);
    const first = await visitor.redeem({ seats: ['A-1', 'A-2'] });
    const plain = await visitor.join();
    assert.deepEqual([plain.state, plain.place], ['booked', null]);
    await visitor.expect('booking', { booking: first.booking });
    const again = await visitor.join({ again: true });
    assert.notEqual(again.state, 'booked');
    await visitor.granted();
    assert.equal(visitor.grant.max_seats, 1, 'two of three are booked');
    assert.equal((await visitor.redeem({ seats: ['A-3', 'A-4'] })).reason, 'too_many_seats');
    const second = await visitor.redeem({ seats: ['A-3'] });
    assert.equal(second.type, 'booking');
    visitor.send({ type: 'join', again: true });
    await visitor.closed(4403);
    const back = await world.b.join(sale, { place: visitor.joined.place });
    assert.equal(back.joined.state, 'booked');
    const told = [await back.expect('booking'), await back.expect('booking')].map((message) => message.booking);
    assert.deepEqual(told.sort(), [first.booking, second.booking].sort());
  });

  it('again waits behind those who came before', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    const visitor = await world.a.turn(sale);
    await visitor.redeem({ seats: ['A-1'] });
    const other = await world.a.turn(sale);
    await world.a.join(sale);
    const again = await visitor.join({ again: true });
    assert.deepEqual([again.state, again.rank, again.total], ['waiting', 1, 2]);
    await leave(other);
  });
}
