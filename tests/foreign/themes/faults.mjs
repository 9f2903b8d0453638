// What breaks, and what must be left of it. On stores of its own; one test at a time.
import assert from 'node:assert/strict';
import { call, oneAfterAnother, Server, sleep, until, within } from '../lib/world.mjs';
import { startStores } from '../lib/stores.mjs';

const stores = {};
let a;
let b;

async function running() {
  if (!stores.now) {
    stores.now = await startStores('always');
    [a, b] = await Promise.all([Server.start(stores.now), Server.start(stores.now)]);
  }
  for (const server of [a, b]) if (server.child.over) await server.boot();
}

/** Joins again until it works, as a client does after a lost connection. */
function rejoin(server, sale, place) {
  return until('the re-join', async () => {
    const visitor = await server.connect(sale);
    visitor.send({ type: 'join', place });
    visitor.joined = await visitor.expect('joined', {});
    return visitor;
  }, 40_000, 150);
}

const seatsIn = async (server, sale) => {
  const { text } = await server.admin('GET', `/sales/${sale}/bookings`);
  return text.trim().split('\n').map((line) => JSON.parse(line)).filter((row) => row.status !== 'released').flatMap((row) => row.seats).sort();
};

export default function theme(it) {
  it('SIGKILL of the server and a restart: places in their order, grants, bookings', async () => {
    await running();
    const sale = await a.sale({ max_active: 2 });
    const booker = await a.turn(sale);
    const { booking } = await booker.redeem({ seats: ['A-1', 'A-2'] });
    const granted = await a.turn(sale);
    const second = await a.turn(sale);
    const waiting = [];
    for (let i = 0; i < 5; i++) waiting.push(await a.join(sale));
    await Promise.all([a.child.end('SIGKILL'), b.child.end('SIGKILL')]);
    await a.boot();
    const backs = [];
    for (const visitor of [...waiting].reverse()) backs.unshift(await rejoin(a, sale, visitor.joined.place));
    assert.deepEqual(backs.map((visitor) => visitor.joined.rank), [0, 1, 2, 3, 4]);
    const back = await rejoin(a, sale, granted.joined.place);
    assert.equal(back.joined.state, 'granted');
    await back.granted();
    const again = await rejoin(a, sale, booker.joined.place);
    assert.equal((await again.expect('booking')).booking, booking);
    assert.equal((await back.redeem({ token: granted.grant.token, seats: ['A-2', 'A-3'] })).reason, 'seat_taken');
    assert.equal((await back.redeem({ token: granted.grant.token, seats: ['A-3'] })).type, 'booking');
    await backs[0].granted();
    assert.deepEqual(await seatsIn(a, sale), ['A-1', 'A-2', 'A-3']);
    assert.equal((await rejoin(a, sale, second.joined.place)).joined.state, 'granted');
  });

  it('SIGKILL of one instance: its visitors go on at the other, where they stood', async () => {
    await running();
    const sale = await a.sale({ phase: 'scheduled', max_active: 1 });
    await b.knows(sale, 'scheduled');
    const visitors = [];
    for (let i = 0; i < 10; i++) visitors.push(await (i % 2 ? b : a).join(sale));
    await b.child.end('SIGKILL');
    const orphans = visitors.filter((_, i) => i % 2);
    for (const orphan of orphans) assert.equal((await orphan.closed()).code, 1006);
    for (const i of [1, 3, 5, 7, 9]) {
      visitors[i] = await rejoin(a, sale, visitors[i].joined.place);
      assert.deepEqual([visitors[i].joined.rank, visitors[i].joined.total], [i, 10]);
    }
    await a.patch(sale, { phase: 'open' });
    await oneAfterAnother(visitors);
  });

  it('SIGKILL of Redis and a restart: nothing acknowledged is lost, the line goes on', async () => {
    await running();
    const sale = await a.sale({ max_active: 1 });
    await b.knows(sale);
    const granted = await a.turn(sale);
    const visitors = [];
    for (let i = 0; i < 6; i++) visitors.push(await (i % 2 ? b : a).join(sale));
    const leaver = visitors.splice(2, 1)[0];
    leaver.send({ type: 'leave' });
    await leaver.expect('lapsed', { reason: 'left' });
    const { redis } = stores.now;
    await redis.child.end('SIGKILL');
    await until('not ready', async () => (await call(a.adminPort, 'GET', '/readyz')).status === 503);
    await redis.start();
    for (const server of [a, b]) await until('ready', async () => (await call(server.adminPort, 'GET', '/readyz')).status === 200);
    // Sockets may have stayed or not: everyone finds his place.
    for (const [i, visitor] of visitors.entries()) {
      visitors[i] = await rejoin(i % 2 ? a : b, sale, visitor.joined.place);
      assert.deepEqual([visitors[i].joined.rank, visitors[i].joined.epoch], [i, visitor.joined.epoch]);
    }
    const back = await rejoin(b, sale, granted.joined.place);
    assert.equal(back.joined.state, 'granted');
    await back.granted();
    assert.equal((await back.redeem({ token: granted.grant.token, seats: ['B-1'] })).type, 'booking');
    await visitors[0].granted();
    const gone = await rejoin(a, sale, leaver.joined.place);
    assert.equal(gone.joined.rank, 4, 'who left stays gone, and is now the last');
  });

  it('PostgreSQL frozen for 8 s: no grant lapses meanwhile, and all deadlines move by the outage', async () => {
    await running();
    const moving = await a.sale({ rate: 1, max_active: 60 });
    for (let i = 0; i < 60; i++) await a.join(moving);
    await until('an estimate', async () => {
      const { joined } = await a.join(moving);
      return joined.eta_s !== null;
    }, 30_000, 1000);
    const sale = await a.sale({ grant_ttl_s: 12, claim_s: 10 });
    await b.knows(sale);
    const holds = await a.sale({ hold_ttl_s: 14 });
    const [unused, used, patient] = [await a.turn(sale), await b.turn(sale), await a.turn(sale)];
    await used.seatMap();
    await patient.seatMap();
    const holder = await b.turn(holds).catch(async () => { await b.knows(holds); return b.turn(holds); });
    const { booking } = await holder.redeem({ seats: ['A-1'] });
    const { child } = stores.now.postgres;
    const frozen = Date.now();
    child.signalAll('SIGSTOP');
    try {
      await until('not ready', async () => (await call(a.adminPort, 'GET', '/readyz')).status === 503);
      const newcomer = await a.join(moving);
      assert.ok(newcomer.joined.rank > 0, newcomer.heard());
      assert.equal(newcomer.joined.eta_s, null, 'nobody is admitted, so nobody knows how long it takes');
      // A try meanwhile is not lost: it is answered busy, or booked when that is possible again.
      patient.send({ type: 'redeem', request: 'meanwhile', token: patient.grant.token, seats: ['A-9'] });
      await sleep(frozen + 8000 - Date.now());
    } finally {
      child.signalAll('SIGCONT');
    }
    const outage = Date.now() - frozen;
    for (const server of [a, b]) await until('ready', async () => (await call(server.adminPort, 'GET', '/readyz')).status === 200);
    for (const visitor of [unused, used]) {
      const lapsed = visitor.log.find((message) => message.type === 'lapsed');
      assert.equal(lapsed, undefined, 'a grant lapsed in the outage');
    }
    let last = await answerOf(patient, 'meanwhile');
    for (let i = 0; last.type === 'refused' && i < 20; i++) {
      assert.equal(last.reason, 'busy', patient.heard());
      await sleep(400);
      patient.send({ type: 'redeem', request: `again${i}`, token: patient.grant.token, seats: ['A-9'] });
      last = await answerOf(patient, `again${i}`);
    }
    assert.deepEqual(last.seats, ['A-9']);
    // The claim had 10 s and the grant 12 s; both got the time of the outage.
    const missed = await untilType(unused, 'lapsed');
    const expired = await untilType(used, 'lapsed');
    assert.deepEqual([missed.reason, expired.reason], ['missed', 'expired']);
    const [claimed, lived] = [missed.at - unused.grant.at, expired.at - used.grant.at];
    assert.ok(claimed > 10_000 + outage - within(1500) && claimed < within(10_000 + outage + 4000), `the claim ran ${claimed} ms, the outage ${outage}`);
    assert.ok(lived > 12_000 + outage - within(1500) && lived < within(12_000 + outage + 4000), `the grant lived ${lived} ms, the outage ${outage}`);
    const ended = await untilType(holder, 'booking', (message) => message.booking === booking && message.status === 'released');
    const held = ended.at - holder.grant.at;
    assert.ok(held > 14_000 + outage - within(1500) && held < within(14_000 + outage + 5000), `the hold lasted ${held} ms, the outage ${outage}`);
    assert.deepEqual(await seatsIn(a, sale), ['A-9']);
  }, { timeout: 150_000 });

  it('all is stopped', async () => {
    await Promise.all([a?.child.end('SIGKILL'), b?.child.end('SIGKILL')]);
    await stores.now?.stop();
  });
}
theme.concurrency = 1;

/** The next message of that type, whatever else comes (a moved deadline is told by a new `joined` and `granted`). */
async function untilType(visitor, type, fits = () => true) {
  for (;;) {
    const message = await visitor.next(40_000, type);
    assert.notEqual(message.type, 'close', visitor.heard());
    if (message.type === type && fits(message)) return message;
  }
}

async function answerOf(visitor, request) {
  for (;;) {
    const message = await visitor.next(40_000, `the answer of ${request}`);
    if (message.request === request) return message;
  }
}
