// The seat map: a bitmap, and then its changes, from every instance.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { seatsOf } from '../lib/client.mjs';
import { plan, until } from '../lib/world.mjs';

/** A visitor who keeps a map by the messages alone. */
class Watcher {
  constructor(visitor, map) {
    Object.assign(this, { visitor, version: map.version, taken: new Set(seatsOf(map.taken)) });
  }

  static async of(visitor) { return new Watcher(visitor, await visitor.seatMap()); }

  async see(...seats) {
    const want = JSON.stringify(seats);
    while (JSON.stringify([...this.taken].sort((a, b) => a - b)) !== want) {
      const change = await this.visitor.expect('seats_changed', {}).catch((error) => {
        throw new Error(`waited for ${want}, has ${[...this.taken]}: ${error.message}`);
      });
      assert.equal(change.version, ++this.version, 'versions rise by one');
      change.taken.forEach((seat) => this.taken.add(seat));
      change.freed.forEach((seat) => this.taken.delete(seat));
    }
  }
}

export default function theme(it, world) {
  it('without a grant there is no map', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    const granted = await world.a.turn(sale);
    const waiting = await world.a.join(sale);
    const ask = async (visitor) => {
      visitor.send({ type: 'seats' });
      const refused = await visitor.expect('refused');
      assert.deepEqual([refused.request, refused.reason, refused.retry], ['seats', 'not_granted', false]);
    };
    await ask(waiting);
    granted.send({ type: 'leave' });
    await granted.expect('lapsed');
    await ask(granted);
    await waiting.granted();
    await waiting.redeem({ seats: ['A-1'] });
    await ask(waiting); // spent
  });

  it('the bitmap is of the whole plan, least significant bit first; blocked seats are taken', async () => {
    const sale = await world.a.sale({ blocked: ['A-1', 'B-3'] });
    await (await world.a.turn(sale)).redeem({ seats: ['A-10', 'B-10'] });
    const visitor = await world.a.turn(sale);
    const map = await visitor.seatMap();
    assert.equal(Buffer.from(map.taken, 'base64').length, 3, '20 seats are 3 bytes');
    assert.deepEqual(seatsOf(map.taken), [0, 9, 12, 19]);
    const refused = await visitor.redeem({ seats: ['A-1', 'A-2', 'B-3'] });
    assert.deepEqual([refused.reason, refused.seats, refused.retry], ['seat_taken', ['A-1', 'B-3'], true]);
    assert.equal((await world.a.show(sale)).seats_left, 16);
  });

  it('what this instance has answered is in the next map', async () => {
    const sale = await world.a.sale({ plan: plan(4, 10) });
    for (let i = 0; i < 8; i++) {
      const [booker, watcher] = [await world.a.turn(sale), await world.a.turn(sale)];
      await booker.redeem({ seats: [`B-${i + 1}`] });
      const map = seatsOf((await watcher.seatMap()).taken);
      assert.deepEqual(map, Array.from({ length: i + 1 }, (_, n) => 10 + n));
      watcher.send({ type: 'leave' });
    }
  });

  it('changes of every instance arrive in order: booked, held, released, blocked, unblocked', async () => {
    const sale = await world.a.sale({ hold_ttl_s: 60 });
    await world.b.knows(sale);
    const watchers = [await Watcher.of(await world.a.turn(sale)), await Watcher.of(await world.b.turn(sale))];
    const all = (...seats) => Promise.all(watchers.map((watcher) => watcher.see(...seats)));
    const first = await (await world.a.turn(sale)).redeem({ seats: ['A-1', 'A-2'] });
    await all(0, 1);
    await (await world.b.turn(sale)).redeem({ seats: ['B-10'] });
    await all(0, 1, 19);
    await world.a.admin('POST', `/bookings/${first.booking}/confirm`);
    await world.b.admin('DELETE', `/bookings/${first.booking}`);
    await all(19);
    await world.a.patch(sale, { blocked: ['A-5', 'B-10'] });
    await all(4, 19);
    await world.b.patch(sale, { blocked: [] });
    await all(19);
    await (await world.b.turn(sale)).redeem({ seats: ['A-1'] });
    await all(0, 19);
  });

  it('many bookings at once: every watcher ends with the same map, without a gap', async () => {
    const sale = await world.a.sale({ plan: plan(4, 10) });
    await world.b.knows(sale);
    const watchers = [await Watcher.of(await world.a.turn(sale)), await Watcher.of(await world.b.turn(sale))];
    const bookers = await Promise.all(Array.from({ length: 16 }, (_, i) => (i % 2 ? world.a : world.b).turn(sale)));
    const answers = await Promise.all(bookers.map((visitor) => visitor.redeem({ best: { count: 2, together: true } })));
    const order = plan(4, 10).zones[0].rows.flatMap((row) => row.seats.map((seat) => seat.seat_guid));
    const seats = answers.flatMap((answer) => answer.seats.map((seat) => order.indexOf(seat))).sort((a, b) => a - b);
    assert.equal(new Set(seats).size, 32);
    await Promise.all(watchers.map((watcher) => watcher.see(...seats)));
  });

  it('after a reconnect the map is whole again', async () => {
    const sale = await world.a.sale();
    await world.b.knows(sale);
    const visitor = await world.a.turn(sale);
    await visitor.seatMap();
    visitor.cut();
    await (await world.a.turn(sale)).redeem({ seats: ['B-1'] });
    const back = await world.b.join(sale, { place: visitor.joined.place });
    await back.granted();
    // Another instance's bookings may take a moment: then they come as a change.
    const watcher = await Watcher.of(back);
    await watcher.see(10);
    await (await world.a.turn(sale)).redeem({ seats: ['A-1'] });
    await watcher.see(0, 10);
  });

  it('a refused redeem takes no seat: all or none', async () => {
    const sale = await world.a.sale();
    await world.b.knows(sale);
    await (await world.b.turn(sale)).redeem({ seats: ['A-5'] });
    const visitor = await world.a.turn(sale);
    const refused = await visitor.redeem({ seats: ['A-4', 'A-5', 'A-6'] });
    assert.deepEqual([refused.reason, refused.seats], ['seat_taken', ['A-5']]);
    const watcher = await Watcher.of(visitor);
    await watcher.see(4);
    assert.equal((await (await world.b.turn(sale)).redeem({ seats: ['A-4', 'A-6'] })).type, 'booking');
    await watcher.see(3, 4, 5);
  });

  it('blocked seats are not for sale: the hall is sold out when the others are gone', async () => {
    const sale = await world.a.sale({ plan: plan(1, 3), blocked: ['A-2'] });
    await (await world.a.turn(sale)).redeem({ seats: ['A-1', 'A-3'] });
    await until('sold out', async () => (await world.a.show(sale)).phase === 'sold_out');
    const waiting = await world.a.join(sale);
    await world.a.patch(sale, { blocked: [] });
    await waiting.granted();
    assert.equal((await waiting.redeem({ best: { count: 1 } })).seats[0], 'A-2');
  });

  it('a real hall: 1,222 seats in the order of the file, the best first', async () => {
    const file = new URL('../../../data/seating-plan-riethsporthalle.json', import.meta.url);
    const hall = JSON.parse(readFileSync(file, 'utf8'));
    const order = hall.zones.flatMap((zone) => zone.rows.flatMap((row) => row.seats.map((seat) => seat.seat_guid)));
    const sale = await world.a.sale({ plan: hall });
    const visitor = await world.a.turn(sale);
    const watcher = await Watcher.of(await world.a.turn(sale));
    const answer = await visitor.redeem({ best: { count: 3, together: true } });
    assert.equal(answer.together, true);
    // Of an empty hall the best are the first category's, in the front, by the middle of the row.
    assert.deepEqual(answer.seats, ['B-1-8', 'B-1-9', 'B-1-10']);
    const category = new Map(hall.zones.flatMap((zone) => zone.rows.flatMap((row) => row.seats.map((seat) => [seat.seat_guid, seat.category]))));
    answer.seats.forEach((seat) => assert.equal(category.get(seat), 'VIP'));
    await watcher.see(...answer.seats.map((seat) => order.indexOf(seat)).sort((a, b) => a - b));
    const shown = await world.a.show(sale);
    assert.deepEqual([shown.seats, shown.seats_left], [1222, 1219]);
    const { body } = await world.a.get(`/v1/sales/${sale}/plan`);
    assert.deepEqual(body.zones, hall.zones);
  });
}
