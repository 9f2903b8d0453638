// Spending the booking token: what is booked, what is refused, and what is said of it.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { plan, sleep, until } from '../lib/world.mjs';

function refused(answer, reason, retry) {
  assert.deepEqual([answer.type, answer.reason, answer.retry], ['refused', reason, retry], JSON.stringify(answer));
}

function booked(answer, ...seats) {
  assert.equal(answer.type, 'booking', JSON.stringify(answer));
  if (seats.length > 0) assert.deepEqual(answer.seats, seats);
}

/** The token with one character of that part changed. */
function alter(token, part) {
  const parts = token.split('.');
  const at = Math.floor(parts[part].length / 2);
  const other = parts[part][at] === 'A' ? 'B' : 'A';
  parts[part] = parts[part].slice(0, at) + other + parts[part].slice(at + 1);
  return parts.join('.');
}

export default function theme(it, world) {
  it('a booking is answered with what was asked for, and is in the export', async () => {
    const sale = await world.a.sale();
    const visitor = await world.a.turn(sale);
    const answer = await visitor.redeem({ request: 'mine', seats: ['A-1', 'A-2'] });
    booked(answer, 'A-1', 'A-2');
    assert.deepEqual([answer.request, answer.status, answer.together], ['mine', 'confirmed', true]);
    const { text } = await world.a.admin('GET', `/sales/${sale}/bookings`);
    assert.ok(text.includes(answer.booking), text);
    const apart = await (await world.a.turn(sale)).redeem({ seats: ['A-4', 'A-6'] });
    booked(apart, 'A-4', 'A-6');
    assert.equal(apart.together, false);
  });

  it('without a grant there is nothing to spend', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.join(sale);
    for (const token of ['x', '', 'a.b.c', visitor.joined.place, `${visitor.joined.place}.x`]) {
      refused(await visitor.redeem({ token, seats: ['A-1'] }), 'token_invalid', false);
    }
  });

  it('a token altered in any part, or signed with another key, is invalid; the true one still books', async () => {
    const visitor = await world.a.turn(await world.a.sale());
    const { token } = visitor.grant;
    for (const part of [0, 1, 2]) {
      refused(await visitor.redeem({ token: alter(token, part), seats: ['A-1'] }), 'token_invalid', false);
    }
    const [kid, payload, mac] = token.split('.');
    const other = createHmac('sha256', 'another key').update(`${kid}.${payload}`).digest('base64url');
    for (const forged of [`${kid}.${payload}.${other}`, `${kid}.${payload}.`, `${kid}.${payload}`, `.${payload}.${mac}`, `${token}A`]) {
      refused(await visitor.redeem({ token: forged, seats: ['A-1'] }), 'token_invalid', false);
    }
    booked(await visitor.redeem({ seats: ['A-1'] }), 'A-1');
  });

  it("another visitor's token is invalid, used or not", async () => {
    const sale = await world.a.sale();
    const [owner, thief] = [await world.a.turn(sale), await world.a.turn(sale)];
    refused(await thief.redeem({ token: owner.grant.token, seats: ['A-1'] }), 'token_invalid', false);
    booked(await owner.redeem({ seats: ['A-1'] }));
    refused(await thief.redeem({ token: owner.grant.token, seats: ['A-2'] }), 'token_invalid', false);
    booked(await thief.redeem({ seats: ['A-3'] }), 'A-3');
  });

  it('a token of another sale is invalid', async () => {
    const [here, there] = [await world.a.sale(), await world.a.sale()];
    const elsewhere = await world.a.turn(there);
    const visitor = await world.a.turn(here);
    refused(await visitor.redeem({ token: elsewhere.grant.token, seats: ['A-1'] }), 'token_invalid', false);
  });

  it('a token whose time is over is expired, after a missed turn too', async () => {
    const expired = await world.a.turn(await world.a.sale({ grant_ttl_s: 1, claim_s: 1 }));
    await expired.expect('lapsed', {});
    refused(await expired.redeem({ seats: ['A-1'] }), 'token_expired', false);
    const claimed = await world.a.turn(await world.a.sale({ grant_ttl_s: 4, claim_s: 4 }));
    await claimed.seatMap();
    await claimed.expect('lapsed', { reason: 'expired' });
    refused(await claimed.redeem({ best: { count: 1 } }), 'token_expired', false);
  });

  it('a token that was given up with its place is expired', async () => {
    const visitor = await world.a.turn(await world.a.sale());
    visitor.send({ type: 'leave' });
    await visitor.expect('lapsed', { reason: 'left' });
    refused(await visitor.redeem({ seats: ['A-1'] }), 'token_expired', false);
  });

  it('a used token gets its booking again: whatever is asked, after its time, on every instance', async () => {
    const sale = await world.a.sale({ grant_ttl_s: 5, claim_s: 5 });
    const visitor = await world.a.turn(sale);
    const first = await visitor.redeem({ request: 'r1', seats: ['A-1', 'A-2'] });
    booked(first, 'A-1', 'A-2');
    const same = async (socket, fields) => {
      const again = await socket.redeem({ token: visitor.grant.token, ...fields });
      assert.deepEqual({ ...again, request: null }, { ...first, request: null });
    };
    await same(visitor, { request: 'r1', seats: ['A-1', 'A-2'] });
    await same(visitor, { request: 'r2', seats: ['B-1'] });
    await same(visitor, { request: 'r3', best: { count: 4, together: true } });
    await same(visitor, { request: 'r4', seats: ['no such seat'] });
    await same(visitor, { request: 'r5', seats: ['B-1', 'B-2', 'B-3', 'B-4', 'B-5', 'B-6'] });
    await sleep(Math.max(0, visitor.grant.at + 6500 - Date.now())); // past the deadline and its grace
    await same(visitor, { request: 'r6', seats: ['B-1'] });
    await world.b.knows(sale);
    const back = await world.b.join(sale, { place: visitor.joined.place });
    assert.equal(back.joined.state, 'booked');
    await back.expect('booking', { booking: first.booking });
    await same(back, { request: 'r7', best: { count: 1 } });
    const seats = (await world.a.show(sale)).seats_left;
    assert.equal(seats, 18, 'nothing else was booked');
  });

  it('refusals are not remembered: the same request is a new try', async () => {
    const sale = await world.a.sale();
    await (await world.a.turn(sale)).redeem({ seats: ['A-3'] });
    const visitor = await world.a.turn(sale);
    const unknown = await visitor.redeem({ request: 'r', seats: ['A-1', 'Z-9'] });
    refused(unknown, 'unknown_seat', true);
    refused(await visitor.redeem({ request: 'r', seats: ['A-1', 'A-2', 'A-4', 'A-5', 'A-6'] }), 'too_many_seats', true);
    refused(await visitor.redeem({ request: 'r', best: { count: 5 } }), 'too_many_seats', true);
    const taken = await visitor.redeem({ request: 'r', seats: ['A-2', 'A-3'] });
    refused(taken, 'seat_taken', true);
    assert.deepEqual(taken.seats, ['A-3'], 'the taken ones are named, and only these');
    booked(await visitor.redeem({ request: 'r', seats: ['A-1', 'A-2'] }), 'A-1', 'A-2');
  });

  it('the best seats: together, by category, or none', async () => {
    const sale = await world.a.sale({ plan: plan(2, 4), max_seats: 4 });
    const first = await (await world.a.turn(sale)).redeem({ best: { count: 2, category: 'Hall', together: true } });
    booked(first);
    assert.ok(first.seats.every((seat) => seat.startsWith('B-')), `${first.seats}`);
    assert.equal(first.together, true);
    await (await world.a.turn(sale)).redeem({ seats: ['A-2'] });
    const visitor = await world.a.turn(sale);
    refused(await visitor.redeem({ best: { count: 3, category: 'VIP', together: true } }), 'no_seats_together', true);
    refused(await visitor.redeem({ best: { count: 4, category: 'VIP' } }), 'no_seats_together', true);
    const three = await visitor.redeem({ best: { count: 3, category: 'VIP' } });
    booked(three);
    assert.deepEqual([...three.seats].sort(), ['A-1', 'A-3', 'A-4']);
    assert.equal(three.together, false);
  });

  it('a hall without a seat is sold out, and another try is no use', async () => {
    const sale = await world.a.sale({ plan: plan(1, 2) });
    const [fast, slow] = [await world.a.turn(sale), await world.a.turn(sale)];
    booked(await fast.redeem({ best: { count: 2 } }));
    refused(await slow.redeem({ best: { count: 1 } }), 'sold_out', false);
  });

  it('one seat, many visitors, two instances: one gets it, all others hear that it is taken', async () => {
    const sale = await world.a.sale();
    await world.b.knows(sale);
    const visitors = await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 2 ? world.a : world.b).turn(sale)));
    const answers = await Promise.all(visitors.map((visitor) => visitor.redeem({ request: 'r', seats: ['B-1', 'B-2'] })));
    assert.equal(answers.filter((answer) => answer.type === 'booking').length, 1, JSON.stringify(answers));
    answers.filter((answer) => answer.type === 'refused').forEach((answer) => {
      refused(answer, 'seat_taken', true);
      assert.deepEqual(answer.seats, ['B-1', 'B-2']);
    });
    // Whoever lost may try again, all at once, for seats of their own.
    const losers = visitors.filter((_, i) => answers[i].type === 'refused').slice(0, 9);
    const again = await Promise.all(losers.map((visitor) => visitor.redeem({ request: 's', best: { count: 2 } })));
    const seats = again.filter((answer) => answer.type === 'booking').flatMap((answer) => answer.seats);
    assert.equal(seats.length, 18, JSON.stringify(again));
    assert.equal(new Set(seats).size, 18);
    await until('sold out', async () => (await world.a.show(sale)).phase === 'sold_out');
  });

  it('two tries at once with one token are one booking', async () => {
    const visitor = await world.a.turn(await world.a.sale());
    for (const [request, seat] of [['r1', 'A-1'], ['r2', 'B-1'], ['r3', 'B-2']]) {
      visitor.send({ type: 'redeem', request, token: visitor.grant.token, seats: [seat] });
    }
    const answers = [];
    for (const request of ['r1', 'r2', 'r3']) answers.push(await visitor.expect('booking', { request }));
    assert.equal(new Set(answers.map((answer) => answer.booking)).size, 1);
    answers.forEach((answer) => booked(answer, 'A-1'));
  });
}
