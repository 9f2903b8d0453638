// SIGTERM: everyone is sent on, nothing is lost, and the server ends with 0.
import assert from 'node:assert/strict';
import { Server, call, ownStores, until, within } from '../lib/world.mjs';

export default function theme(it) {
  const own = ownStores();

  it('visitors hear reconnect and a close 1012, spread over the drain, and go on elsewhere', async () => {
    const [server, other] = await Promise.all([Server.start(await own(), { drain_s: 4 }), Server.start(await own())]);
    const sale = await server.sale({ phase: 'scheduled' });
    await other.knows(sale, 'scheduled');
    const visitors = [];
    for (let i = 0; i < 12; i++) visitors.push(await server.join(sale));
    const start = Date.now();
    server.child.signal('SIGTERM');
    await until('not ready', async () => {
      const { status } = await call(server.adminPort, 'GET', '/readyz');
      return status === 503;
    });
    assert.equal((await call(server.adminPort, 'GET', '/livez')).status, 200, 'alive while it drains');
    const delays = await Promise.all(visitors.map(async (visitor) => {
      const { after_ms } = await visitor.expect('reconnect', {});
      assert.ok(after_ms >= 0 && after_ms <= 4000, `${after_ms}`);
      const close = await visitor.closed(1012);
      assert.equal(close.error, undefined);
      return after_ms;
    }));
    assert.ok(Math.max(...delays) - Math.min(...delays) > 500, 'not all at once');
    const { code } = await server.child.exit;
    assert.equal(code, 0, server.child.output);
    assert.ok(Date.now() - start < within(5500), `it took ${Date.now() - start} ms`);
    for (const [i, visitor] of visitors.entries()) {
      const back = await other.join(sale, { place: visitor.joined.place });
      assert.deepEqual([back.joined.rank, back.joined.total], [i, 12]);
    }
    await other.child.end('SIGKILL');
  });

  it('a turn goes on during the drain and after it', async () => {
    const [server, other] = await Promise.all([Server.start(await own(), { drain_s: 3 }), Server.start(await own())]);
    const sale = await server.sale();
    const [booker, holder] = [await server.turn(sale), await server.turn(sale)];
    server.child.signal('SIGTERM');
    const answer = await booker.redeem({ seats: ['A-1'] });
    assert.equal(answer.type, 'booking');
    await holder.expect('reconnect', {});
    await holder.closed(1012);
    const back = await other.join(sale, { place: holder.joined.place });
    assert.equal(back.joined.state, 'granted');
    await back.granted();
    assert.equal((await back.redeem({ token: holder.grant.token, seats: ['A-2'] })).type, 'booking');
    assert.equal((await server.child.exit).code, 0);
    await other.child.end('SIGKILL');
  });

  it('a server without visitors ends at once', async () => {
    const server = await Server.start(await own(), { drain_s: 20 });
    const start = Date.now();
    assert.equal((await server.child.end('SIGTERM')).code, 0);
    assert.ok(Date.now() - start < 15_000, `${Date.now() - start} ms`);
  });

  it('origins that are named may open a socket, and no others', async () => {
    const server = await Server.start(await own(), { allowed_origins: 'https://shop.example,https://tickets.example' });
    const sale = await server.sale();
    for (const origin of ['https://shop.example', 'https://tickets.example', undefined]) await server.join(sale, {}, { origin });
    for (const origin of ['https://evil.example', 'http://shop.example', 'https://shop.example.evil']) {
      await assert.rejects(server.connect(sale, { origin }), (error) => error.status === 403);
    }
    await server.child.end('SIGKILL');
  });

  it('a second signing key verifies, the first signs: keys can be changed under a line', async () => {
    const [old, fresh] = ['k0:b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCE=', 'k9:bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE='];
    const before = await Server.start(await own(), { signing_keys: old });
    const sale = await before.sale({ phase: 'scheduled' });
    await before.join(sale);
    const visitor = await before.join(sale);
    assert.ok(visitor.joined.place.startsWith('k0.'));
    await before.child.end('SIGKILL');
    const after = await Server.start(await own(), { signing_keys: `${fresh},${old}` });
    const back = await after.join(sale, { place: visitor.joined.place });
    assert.equal(back.joined.rank, 1);
    assert.ok(back.joined.place.startsWith('k9.'));
    const other = await Server.start(await own());
    const stranger = await other.connect(sale);
    stranger.send({ type: 'join', place: visitor.joined.place });
    await stranger.closed(4401);
    await Promise.all([after.child.end('SIGKILL'), other.child.end('SIGKILL')]);
  });
}
theme.concurrency = 2;
