// Rate, max_active and free seats hold over both instances together.
import assert from 'node:assert/strict';
import { plan, sleep, until, within } from '../lib/world.mjs';

const TICK = 0.1;

/** Joins on both instances in turn. */
async function crowd(world, sale, count) {
  return Promise.all(Array.from({ length: count }, (_, i) => (i % 2 ? world.a : world.b).join(sale)));
}

/**
 * Never more have heard of their turn than rate × time since admissions began, and one tick. What is heard late only
 * makes them fewer, so that no stall of the machine breaks this; windows that begin later are held to it by `tests/it`, on
 * the clock of the line itself.
 */
function withinRate(times, rate, since) {
  times.filter((at) => at >= since).sort((a, b) => a - b).forEach((at, i) => {
    const window = (at - since) / 1000;
    assert.ok(i + 1 <= rate * (window + TICK) + 1, `${i + 1} admissions within ${window.toFixed(2)} s at ${rate}/s`);
  });
}

export default function theme(it, world) {
  it('the rate is kept by two instances together, and reached', async () => {
    const rate = 20;
    const sale = await world.a.sale({ phase: 'scheduled', rate, plan: plan(10, 10) });
    await world.b.knows(sale, 'scheduled');
    const visitors = await crowd(world, sale, 60);
    const opened = Date.now();
    await world.a.patch(sale, { phase: 'open' });
    const times = await Promise.all(visitors.map(async (visitor) => (await visitor.granted()).at));
    withinRate(times, rate, opened);
    const took = Math.max(...times) - opened;
    assert.ok(took < within(60_000 / rate + 1500), `60 admissions at ${rate}/s took ${took} ms`);
    assert.equal((await world.a.show(sale)).admitted_total, 60);
  });

  it('no burst follows a pause, nor a time without anyone in the line', async () => {
    const rate = 10;
    const sale = await world.a.sale({ rate, plan: plan(10, 10) });
    await world.b.knows(sale);
    await sleep(1000); // open and empty: nothing is saved up
    const came = Date.now();
    const visitors = await crowd(world, sale, 40);
    const times = [];
    visitors.forEach((visitor) => visitor.granted().then((grant) => times.push(grant.at), () => {}));
    await until('some grants', () => times.length >= 8);
    await world.b.patch(sale, { phase: 'paused' });
    await world.a.knows(sale, 'paused');
    const admitted = async () => (await world.a.show(sale)).admitted_total;
    // What was decided is on its way.
    const before = await until('what is on its way', async () => await admitted() === times.length && times.length);
    await sleep(1500);
    assert.deepEqual([await admitted(), times.length], [before, before], 'nobody is admitted in a pause');
    withinRate(times, rate, came);
    const reopened = Date.now();
    await world.a.patch(sale, { phase: 'open' });
    await until('all grants', () => times.length === 40);
    withinRate(times, rate, reopened);
  });

  it('a changed rate is in force at once', async () => {
    const sale = await world.a.sale({ rate: 0.01, plan: plan(10, 10) });
    const visitors = await crowd(world, sale, 10);
    await world.b.patch(sale, { rate: 100 });
    await Promise.all(visitors.map((visitor) => visitor.granted()));
  });

  it('max_active is kept by two instances together; a slot is freed by booking, leaving and lapse', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', max_active: 3, claim_s: 8 });
    await world.b.knows(sale, 'scheduled');
    const visitors = await crowd(world, sale, 9);
    visitors.sort((a, b) => a.joined.rank - b.joined.rank);
    await world.a.patch(sale, { phase: 'open' });
    const [booker, leaver, sleeper, ...rest] = visitors;
    await Promise.all([booker, leaver, sleeper].map((visitor) => visitor.granted()));
    const nobodyElse = async (others) => {
      await sleep(350); // three ticks
      for (const visitor of others) assert.deepEqual((await visitor.sofar()).filter((m) => m.type === 'granted'), []);
      const { granted } = await world.b.show(sale);
      assert.equal(granted, 3);
    };
    await nobodyElse(rest);
    assert.equal((await booker.redeem({ seats: ['A-1'] })).type, 'booking');
    await rest[0].granted();
    await rest[0].seatMap();
    leaver.send({ type: 'leave' });
    await rest[1].granted();
    await rest[1].seatMap();
    await nobodyElse(rest.slice(2));
    await sleeper.expect('lapsed', { reason: 'missed' });
    await rest[2].granted();
    await nobodyElse(rest.slice(3));
  });

  it('a lowered max_active admits nobody until the grants above it are gone', async () => {
    const sale = await world.a.sale({ max_active: 3 });
    const held = await Promise.all([1, 2, 3].map(() => world.a.turn(sale)));
    await world.b.knows(sale);
    await world.a.patch(sale, { max_active: 2 });
    const waiting = await world.b.join(sale);
    held[0].send({ type: 'leave' });
    await sleep(350);
    assert.deepEqual((await waiting.sofar()).filter((message) => message.type === 'granted'), []);
    held[1].send({ type: 'leave' });
    await waiting.granted();
  });

  it('nobody is admitted while live grants reach the free seats', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', plan: plan(1, 4), blocked: ['A-4'] });
    await world.b.knows(sale, 'scheduled');
    const visitors = await crowd(world, sale, 6);
    visitors.sort((a, b) => a.joined.rank - b.joined.rank);
    await world.a.patch(sale, { phase: 'open' });
    await Promise.all(visitors.slice(0, 3).map((visitor) => visitor.granted()));
    const nobody = async (others) => {
      await sleep(350);
      for (const visitor of others) assert.deepEqual((await visitor.sofar()).filter((m) => m.type === 'granted'), []);
    };
    await nobody(visitors.slice(3)); // three free, three grants
    assert.equal((await visitors[0].redeem({ seats: ['A-1', 'A-2'] })).type, 'booking');
    visitors[1].send({ type: 'leave' });
    await nobody(visitors.slice(3)); // one free, one grant
    visitors[2].send({ type: 'leave' });
    await visitors[3].granted();
    await nobody(visitors.slice(4));
  });
}
