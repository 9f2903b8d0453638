// The phases of a sale, the operator's steps between them, and settings that change while it runs.
import assert from 'node:assert/strict';
import { ERROR, SALE, fault } from '../lib/schema.mjs';
import { plan, sleep, until, within } from '../lib/world.mjs';

const only = (messages, type) => messages.filter((message) => message.type === type);

/** A sale that was brought into that phase. */
async function saleIn(server, phase) {
  if (phase === 'sold_out' || phase === 'all_held') {
    const sale = await server.sale({ plan: plan(1, 1), hold_ttl_s: phase === 'all_held' ? 60 : 0 });
    await (await server.turn(sale)).redeem({ seats: ['A-1'] });
    await server.knows(sale, phase);
    return sale;
  }
  return server.sale({ phase });
}

export default function theme(it, world) {
  const steps = {
    scheduled: ['open', 'paused', 'closed'], open: ['paused', 'closed'], paused: ['open', 'closed'],
    all_held: ['paused', 'closed'], sold_out: ['paused', 'closed'], closed: [],
  };
  it('an operator takes the steps of the contract, and no others', async () => {
    await Promise.all(Object.entries(steps).map(async ([from, allowed]) => {
      const never = ['scheduled', 'all_held', 'sold_out', ...(from === 'closed' ? ['open', 'paused'] : [])];
      const sale = await saleIn(world.a, from);
      for (const to of never.filter((to) => to !== from)) {
        const { status, body } = await world.a.admin('PATCH', `/sales/${sale}`, { phase: to });
        assert.equal(status, 409, `${from} → ${to}`);
        assert.equal(fault(body, ERROR), undefined);
      }
      assert.equal((await world.a.show(sale)).phase, from, 'a refused step changes nothing');
      for (const to of allowed) {
        const here = await saleIn(world.a, from);
        const { status, body } = await world.a.admin('PATCH', `/sales/${here}`, { phase: to });
        assert.deepEqual([status, body.phase], [200, to], `${from} → ${to}`);
      }
    }));
  });

  it('a phase that is none is 422 and named; a refused step changes nothing else either', async () => {
    const sale = await world.a.sale({ rate: 7 });
    for (const phase of ['opened', '', 'OPEN', 3]) {
      const { status, body } = await world.a.admin('PATCH', `/sales/${sale}`, { phase });
      assert.equal(status, 422, `${phase}`);
      assert.match(body.message, /phase/);
    }
    assert.equal((await world.a.admin('PATCH', `/sales/${sale}`, { phase: 'scheduled', rate: 9 })).status, 409);
    assert.equal((await world.a.show(sale)).rate, 7);
  });

  it('opens_at opens by itself, on time, on both instances', async () => {
    const opens = Date.now() + 12_000;
    const sale = await world.a.sale({ phase: 'scheduled', opens_at: new Date(opens).toISOString() });
    await world.b.knows(sale, 'scheduled');
    const visitors = [await world.a.join(sale), await world.b.join(sale)];
    for (const visitor of visitors) {
      assert.equal(Date.parse(visitor.joined.opens_at), opens);
      assert.equal(visitor.joined.phase, 'scheduled');
      const phase = await visitor.expect('phase', { phase: 'open' });
      assert.ok(phase.at >= opens - 20 && phase.at < opens + within(1000), `${phase.at - opens} ms after its time`);
      await visitor.granted();
    }
  });

  it('opens_at can be moved; a sale that was paused does not open by it', async () => {
    const far = new Date(Date.now() + 3_600_000).toISOString();
    const moved = await world.a.sale({ phase: 'scheduled', opens_at: far });
    await world.b.knows(moved, 'scheduled');
    const visitor = await world.b.join(moved);
    await world.a.patch(moved, { opens_at: new Date(Date.now() + 4000).toISOString() });
    await visitor.expect('phase', { phase: 'open' });
    const cleared = await world.a.sale({ phase: 'scheduled', opens_at: new Date(Date.now() + 25_000).toISOString() });
    assert.equal((await world.a.patch(cleared, { opens_at: null })).opens_at, null);
    const late = Date.now() + 25_000;
    const paused = await world.a.sale({ phase: 'paused', opens_at: new Date(late).toISOString() });
    await until('both times', () => Date.now() > late + 1500);
    assert.equal((await world.a.show(cleared)).phase, 'scheduled');
    assert.equal((await world.a.show(paused)).phase, 'paused');
  });

  it('a pause stops admissions; live grants run and redeem', async () => {
    const sale = await world.a.sale({ max_active: 2 });
    await world.b.knows(sale);
    const [granted, other] = [await world.a.turn(sale), await world.b.turn(sale)];
    const waiting = await world.b.join(sale);
    await world.a.patch(sale, { phase: 'paused' });
    for (const visitor of [granted, other, waiting]) await visitor.expect('phase', { phase: 'paused' });
    assert.equal((await granted.redeem({ seats: ['A-1'] })).type, 'booking');
    other.send({ type: 'leave' });
    await other.expect('lapsed', { reason: 'left' });
    const joined = await world.b.join(sale);
    assert.deepEqual([joined.joined.phase, joined.joined.rank], ['paused', 1], 'joining goes on');
    await sleep(400);
    assert.deepEqual(only(await waiting.sofar(), 'granted'), []);
    await world.b.patch(sale, { phase: 'open' });
    await waiting.expect('phase', { phase: 'open' });
    await waiting.granted();
  });

  it('all_held, sold_out, and open again when a seat is freed', async () => {
    const sale = await world.a.sale({ plan: plan(1, 2), hold_ttl_s: 60 });
    await world.b.knows(sale);
    const visitor = await world.a.turn(sale);
    const { booking } = await visitor.redeem({ seats: ['A-1', 'A-2'] });
    const waiting = await world.b.join(sale);
    if (waiting.joined.phase === 'open') await waiting.expect('phase', { phase: 'all_held' });
    else assert.equal(waiting.joined.phase, 'all_held');
    await sleep(350);
    assert.deepEqual(only(await waiting.sofar(), 'granted'), []);
    await world.b.admin('POST', `/bookings/${booking}/confirm`);
    await waiting.expect('phase', { phase: 'sold_out' });
    assert.equal((await world.a.show(sale)).seats_left, 0);
    await world.a.admin('DELETE', `/bookings/${booking}`);
    await waiting.expect('phase', { phase: 'open' });
    await waiting.granted();
  });

  it('closed is final: grants lapse, all sockets close 4410, HTTP says 410, GETs still answer', async () => {
    const sale = await world.a.sale({ max_active: 2 });
    await world.b.knows(sale);
    const booked = await world.a.turn(sale);
    const { booking } = await booked.redeem({ seats: ['A-1'] });
    const [granted, elsewhere] = [await world.a.turn(sale), await world.b.turn(sale)];
    const [waiting, away] = [await world.a.join(sale), await world.b.join(sale)];
    await world.b.patch(sale, { phase: 'closed' });
    const closed = Date.now();
    for (const visitor of [granted, elsewhere]) {
      await visitor.expect('lapsed', { reason: 'closed' });
      await visitor.closed(4410);
    }
    for (const visitor of [waiting, away, booked]) await visitor.closed(4410);
    assert.ok(Date.now() - closed < within(2500), 'soon');
    for (const server of [world.a, world.b]) {
      await server.knows(sale, 'closed');
      await assert.rejects(server.connect(sale), (error) => error.status === 410 && !fault(error.body, ERROR));
      const bearer = { authorization: `Bearer ${booked.joined.place}` };
      const redeem = { request: 'r', token: granted.grant.token, seats: ['A-2'] };
      for (const answer of [
        await server.post(`/v1/sales/${sale}/places`), await server.post(`/v1/sales/${sale}/places`, { headers: bearer }),
        await server.post(`/v1/sales/${sale}/places/me/redeem`, { headers: bearer, body: redeem }),
      ]) assert.equal(answer.status, 410, answer.text);
      const glance = await until('a fresh answer', async () => {
        const { body } = await server.get(`/v1/sales/${sale}`);
        return body.phase === 'closed' && body;
      });
      assert.equal(fault(glance, SALE), undefined);
      assert.equal((await server.get(`/v1/sales/${sale}/plan`)).status, 200);
      const me = await server.get(`/v1/sales/${sale}/places/me`, { headers: bearer });
      assert.deepEqual([me.status, me.body?.booking?.booking], [200, booking], me.text);
      assert.ok((await server.admin('GET', `/sales/${sale}/bookings`)).text.includes(booking));
    }
    await until('no grant', async () => (await world.a.show(sale)).granted === 0);
    assert.equal((await world.a.show(sale)).booked, 1);
  });

  it('a scheduled sale can be closed; who only waited hears it', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.join(sale);
    await world.a.patch(sale, { phase: 'closed' });
    await visitor.closed(4410);
  });

  it('a change is in force on every instance within a second', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    await world.b.knows(sale);
    const holder = await world.a.turn(sale);
    const waiting = await world.b.join(sale);
    const change = { max_active: 3, max_seats: 2, grant_ttl_s: 20, claim_s: 10, away_s: 77, hold_ttl_s: 33, rate: 50.5 };
    const answer = await world.a.patch(sale, change);
    const patched = Date.now();
    for (const [field, value] of Object.entries(change)) assert.equal(answer[field], value, field);
    await waiting.granted();
    assert.ok(waiting.grant.at - patched < within(1000), `after ${waiting.grant.at - patched} ms`);
    await until('the same on the other', async () => (await world.b.show(sale)).max_seats === 2);
    const fresh = await world.b.turn(sale);
    assert.equal(fresh.grant.max_seats, 2);
    assert.ok(fresh.grant.expires_in_ms <= 20_000 && fresh.grant.claim_in_ms <= 10_000);
    assert.equal((await holder.redeem({ best: { count: 3 } })).reason, 'too_many_seats');
    assert.equal((await fresh.redeem({ best: { count: 2 } })).status, 'held');
  });

  it('a notice reaches every socket, and those who come later; empty clears it', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    await world.b.knows(sale);
    const visitors = [await world.a.turn(sale), await world.b.join(sale)];
    const text = 'Es dauert <b>etwas</b> länger — 잠시만요';
    await world.b.patch(sale, { notice: text });
    const patched = Date.now();
    for (const visitor of visitors) {
      const notice = await visitor.expect('notice', { text });
      assert.ok(notice.at - patched < within(1000), `after ${notice.at - patched} ms`);
    }
    const later = await world.a.join(sale);
    await later.expect('notice', { text });
    const polled = () => world.a.get(`/v1/sales/${sale}/places/me`, { headers: { authorization: `Bearer ${later.joined.place}` } });
    assert.equal((await polled()).body.notice, text);
    await world.a.patch(sale, { notice: '' });
    for (const visitor of [...visitors, later]) await visitor.expect('notice', { text: '' });
    assert.equal((await polled()).body.notice, undefined);
    const last = await world.b.join(sale);
    assert.deepEqual(only(await last.sofar(), 'notice'), []);
  });
}
