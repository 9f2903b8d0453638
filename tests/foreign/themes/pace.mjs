// How soon news reaches the visitor, and what happens to a connection that is silent.
import assert from 'node:assert/strict';
import { Visitor } from '../lib/client.mjs';
import { plan, until, within } from '../lib/world.mjs';

export default function theme(it, world) {
  it('a socket to which nothing was sent for 20 s is pinged; one that answers nothing for 45 s is dropped', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const start = Date.now();
    const alive = await world.a.join(sale);
    const dead = await world.a.join(sale);
    dead.socket._receiver.removeAllListeners('ping'); // hears, and answers nothing
    let pings = 0;
    dead.socket._receiver.on('ping', () => { pings++; });
    await until('a ping', () => alive.pings > 0, 60_000);
    // A store that is slow for a moment is news: it counts as something sent.
    const pinged = Date.now() - alive.log.at(-1).at;
    assert.ok(pinged > 17_000 && pinged < within(23_000), `after ${pinged} ms`);
    const close = await dead.closed(undefined, 60_000);
    const dropped = close.at - start;
    assert.ok(dropped > 42_000 && dropped < within(50_000), `after ${dropped} ms`);
    assert.ok(pings >= 1, 'it was asked before');
    await alive.sofar(); // Who answers stays.
    const back = await world.a.join(sale, { place: dead.joined.place });
    assert.equal(back.joined.rank, 1, 'the place is kept');
  }, { timeout: 150_000 });

  it('a grant reaches its socket soon after the tick, on the other instance too', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', rate: 20, plan: plan(10, 10) });
    await world.b.knows(sale, 'scheduled');
    const visitors = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? world.a : world.b).join(sale)));
    await world.a.patch(sale, { phase: 'open' });
    const late = (await Promise.all(visitors.map(async (visitor) => {
      const grant = await visitor.granted();
      return 30_000 - grant.expires_in_ms; // how old it was when it was sent
    }))).sort((a, b) => a - b);
    // All tests share two cores: the promised percentile is measured by the load generator, not here.
    assert.ok(late[late.length / 2] < within(250) && late.at(-1) < within(2000), `${late}`);
  });

  it('a rank near the head is at most a second old while the line moves', async () => {
    const sale = await world.a.sale({ phase: 'scheduled', rate: 20, plan: plan(10, 10) });
    await world.b.knows(sale, 'scheduled');
    const visitors = [];
    for (let i = 0; i < 60; i++) visitors.push(await (i % 2 ? world.a : world.b).join(sale));
    await world.a.patch(sale, { phase: 'open' });
    const grants = await Promise.all(visitors.map((visitor) => visitor.granted(10_000)));
    // Seen from the last one: when each before him was granted, his rank fell; he was to hear of it within a second.
    const last = visitors.at(-1);
    const ranks = last.log.filter((message) => message.type === 'rank');
    for (const [i, grant] of grants.slice(0, -1).entries()) {
      const told = ranks.find((message) => message.rank <= 58 - i);
      const at = told?.at ?? last.grant.at;
      assert.ok(at - grant.at < within(1000), `rank ${58 - i} was told after ${at - grant.at} ms`);
    }
  });

  it('a slow reader is cut, not waited for, and others are served', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const slow = await world.a.join(sale);
    slow.socket._socket.pause();
    const other = await world.a.join(sale);
    for (let i = 0; i < 5; i++) await world.a.patch(sale, { notice: `${i} ${'x'.repeat(1900)}` });
    for (let i = 0; i < 5; i++) await other.expect('notice', {});
    slow.cut();
    const back = await world.a.join(sale, { place: slow.joined.place });
    assert.equal(back.joined.rank, 0);
  });

  it('two hundred come at once: each has a place, no place is given twice', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await world.b.knows(sale, 'scheduled');
    const sockets = await Promise.all(Array.from({ length: 200 }, (_, i) => Visitor.connect((i % 2 ? world.a : world.b).url(sale))));
    const joined = await Promise.all(sockets.map((visitor) => visitor.join()));
    assert.deepEqual(joined.map((message) => message.rank).sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i));
    assert.equal(new Set(joined.map((message) => message.place)).size, 200);
    sockets.forEach((visitor) => visitor.close());
    await until('all are gone', async () => (await world.a.show(sale)).connections + (await world.b.show(sale)).connections === 0);
  });
}
