// Bookings that wait for the payment: held, confirmed, released, and their end.
import assert from 'node:assert/strict';
import { ERROR, fault } from '../lib/schema.mjs';
import { plan, sleep, until, within } from '../lib/world.mjs';

/** A visitor with a held booking. */
async function held(server, sale, wish = { seats: ['A-1'] }) {
  const visitor = await server.turn(sale);
  visitor.booked = await visitor.redeem(wish);
  assert.equal(visitor.booked.status, 'held', JSON.stringify(visitor.booked));
  return visitor;
}

const confirm = (server, { booking }) => server.admin('POST', `/bookings/${booking}/confirm`);
const release = (server, { booking }) => server.admin('DELETE', `/bookings/${booking}`);

/** The news of a booking, which answers no request. */
async function hears(visitor, status, ms = undefined) {
  const news = await visitor.expect('booking', { status, booking: visitor.booked.booking }, ms);
  assert.deepEqual(['request' in news, news.seats], [false, visitor.booked.seats]);
  return news;
}

export default function theme(it, world) {
  it('a hold says how long it lasts, and counts as taken', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    const visitor = await held(world.a, sale, { seats: ['A-1', 'A-2'] });
    const { hold_expires_in_ms: left } = visitor.booked;
    assert.ok(left > 60_000 - within(2000) && left <= 60_000, `${left}`);
    const other = await world.a.turn(sale);
    assert.deepEqual((await other.redeem({ seats: ['A-2', 'A-3'] })).seats, ['A-2']);
    const shown = await until('the hold', async () => {
      const shown = await world.a.show(sale);
      return shown.held === 1 && shown;
    });
    assert.deepEqual([shown.booked, shown.seats_left], [0, 18]);
  });

  it('confirm: 200, also when repeated, on any instance; the socket hears of it without a request', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    await world.b.knows(sale);
    const visitor = await held(world.a, sale);
    const answer = await confirm(world.b, visitor.booked);
    assert.deepEqual([answer.status, answer.body.status, answer.body.booking], [200, 'confirmed', visitor.booked.booking]);
    await hears(visitor, 'confirmed');
    for (const server of [world.a, world.b]) {
      const again = await confirm(server, visitor.booked);
      assert.deepEqual([again.status, again.body.status], [200, 'confirmed']);
    }
    const shown = await until('nothing held', async () => {
      const shown = await world.a.show(sale);
      return shown.held === 0 && shown;
    });
    assert.deepEqual([shown.booked, shown.seats_left], [1, 19]);
    // The token, spent, tells the present state.
    assert.equal((await visitor.redeem({ request: 'late', seats: ['A-9'] })).status, 'confirmed');
  });

  it('release: 200, also when repeated; the seats are free again', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    await world.b.knows(sale);
    const visitor = await held(world.a, sale);
    const answer = await release(world.b, visitor.booked);
    assert.deepEqual([answer.status, answer.body.status], [200, 'released'], answer.text);
    await hears(visitor, 'released');
    assert.equal((await release(world.a, visitor.booked)).status, 200);
    const again = await visitor.redeem({ request: 'late', seats: ['A-9'] });
    assert.deepEqual([again.booking, again.status], [visitor.booked.booking, 'released']);
    assert.equal((await held(world.a, sale)).booked.seats[0], 'A-1');
  });

  it('a confirmed booking can be released', async () => {
    const sale = await world.a.sale();
    const visitor = await world.a.turn(sale);
    visitor.booked = await visitor.redeem({ seats: ['A-1'] });
    assert.equal((await release(world.a, visitor.booked)).status, 200);
    await hears(visitor, 'released');
    await until('the seat', async () => (await world.a.show(sale)).seats_left === 20);
    const export_ = await world.a.admin('GET', `/sales/${sale}/bookings`);
    assert.equal(JSON.parse(export_.text.trim()).status, 'released');
  });

  it('an unknown booking is 404', async () => {
    for (const booking of ['01890000-0000-7000-8000-000000000000', 'nonsense']) {
      for (const answer of [await confirm(world.a, { booking }), await release(world.a, { booking })]) {
        assert.equal(answer.status, 404);
        assert.equal(fault(answer.body, ERROR), undefined);
      }
    }
  });

  it('a hold ends by itself: told once, its seats are free, the line moves on', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 1, plan: plan(1, 2) });
    await world.b.knows(sale);
    const visitor = await held(world.a, sale, { seats: ['A-1', 'A-2'] });
    const waiting = await world.b.join(sale);
    const news = await hears(visitor, 'released');
    const lived = news.at - visitor.grant.at;
    assert.ok(lived < within(3500), `${lived} ms`);
    await waiting.granted();
    assert.equal((await waiting.redeem({ seats: ['A-1', 'A-2'] })).status, 'held');
    await sleep(300);
    assert.deepEqual((await visitor.sofar()).filter((message) => message.type === 'booking'), [], 'told once');
  });

  it('confirmed after its end: booked again if the seats are free, else 409 seats_gone', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 1 });
    const [lucky, late] = [await held(world.a, sale, { seats: ['A-1', 'A-2'] }), await held(world.a, sale, { seats: ['B-1', 'B-2'] })];
    await Promise.all([hears(lucky, 'released'), hears(late, 'released')]);
    await world.a.patch(sale, { hold_ttl_s: 0 });
    assert.equal((await (await world.a.turn(sale)).redeem({ seats: ['B-2'] })).status, 'confirmed');
    const again = await confirm(world.a, lucky.booked);
    assert.deepEqual([again.status, again.body.status], [200, 'confirmed'], again.text);
    await hears(lucky, 'confirmed');
    const gone = await confirm(world.a, late.booked);
    assert.deepEqual([gone.status, gone.body.code], [409, 'seats_gone'], gone.text);
    assert.equal(fault(gone.body, ERROR), undefined);
    assert.equal((await (await world.a.turn(sale)).redeem({ seats: ['A-2'] })).reason, 'seat_taken');
    await until('three seats', async () => (await world.a.show(sale)).seats_left === 17);
    assert.equal((await (await world.a.turn(sale)).redeem({ seats: ['B-1'] })).type, 'booking', 'nothing of it was taken');
  });

  it('a held booking counts for max_active until it is confirmed or released', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60, max_active: 1 });
    await world.b.knows(sale);
    const first = await held(world.a, sale);
    const [second, third] = [await world.b.join(sale), await world.a.join(sale)];
    const nobody = async (visitor) => {
      await sleep(350);
      assert.deepEqual((await visitor.sofar()).filter((message) => message.type === 'granted'), []);
    };
    await nobody(second);
    await confirm(world.a, first.booked);
    await second.granted();
    second.booked = await second.redeem({ seats: ['A-2'] });
    await nobody(third);
    await release(world.b, second.booked);
    await third.granted();
  });

  it('on a re-join a held booking is told with the time that is left', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    await world.b.knows(sale);
    const visitor = await held(world.a, sale);
    visitor.cut();
    await sleep(300);
    const back = await world.b.join(sale, { place: visitor.joined.place });
    assert.deepEqual([back.joined.state, back.joined.place, back.joined.rank], ['booked', null, 0]);
    const told = await back.expect('booking');
    assert.deepEqual([told.status, told.seats], ['held', ['A-1']]);
    assert.ok(told.hold_expires_in_ms < visitor.booked.hold_expires_in_ms - 250);
    back.booked = told;
    await confirm(world.a, told);
    await hears(back, 'confirmed');
  });

  it('hold_ttl_s 0 and absent are confirmed at once', async () => {
    for (const fields of [{ hold_ttl_s: 0 }, {}]) {
      const visitor = await world.a.turn(await world.a.sale(fields));
      assert.equal((await visitor.redeem({ seats: ['A-1'] })).status, 'confirmed');
    }
  });

  it('confirms and releases that race end the same for all', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    await world.b.knows(sale);
    const visitors = [];
    for (let i = 1; i <= 6; i++) visitors.push(await held(i % 2 ? world.a : world.b, sale, { seats: [`A-${i}`] }));
    await Promise.all(visitors.flatMap(({ booked }) => [confirm(world.a, booked), release(world.b, booked), confirm(world.b, booked), release(world.a, booked)]));
    const rows = (await world.a.admin('GET', `/sales/${sale}/bookings`)).text.trim().split('\n').map(JSON.parse);
    const taken = rows.filter((row) => row.status !== 'released').length;
    await until('the seats after the bookings', async () => (await world.a.show(sale)).seats_left === 20 - taken);
    await until('the same there', async () => (await world.b.show(sale)).seats_left === 20 - taken);
  });
}
