// What a broken or hostile client sends, and how the server ends it.
import assert from 'node:assert/strict';
import { sleep, within } from '../lib/world.mjs';

const redeem = { type: 'redeem', request: 'r', token: 't', seats: ['A-1'] };
const without = (object, field) => Object.fromEntries(Object.entries(object).filter(([name]) => name !== field));

const NEVER_RIGHT = [
  '', '{', 'hello', '[]', 'null', '7', '"join"', '{}', '{"type":"join"', '[{"type":"join"}]', '{"type":"join"}{"type":"join"}',
  '["join"]', '["join",null,null,null]',
  { type: 'hello' }, { type: 7 }, { type: null }, { type: 'JOIN' }, { type: 'joined' },
  { type: 'join', extra: 1 }, { type: 'join', place: 7 }, { type: 'join', identity: {} }, { type: 'join', again: 'yes' },
];
const NEVER_RIGHT_AFTER_JOIN = [
  '["ping"]', '["redeem","r","t",["A-1"]]',
  { type: 'ping', x: 0 }, { type: 'leave', x: 0 }, { type: 'seats', seats: [] },
  without(redeem, 'request'), without(redeem, 'token'), without(redeem, 'seats'), { ...redeem, best: { count: 1 } },
  { ...redeem, extra: true }, { ...redeem, request: '' }, { ...redeem, request: 'x'.repeat(65) }, { ...redeem, request: 7 },
  { ...redeem, token: null }, { ...redeem, seats: [] }, { ...redeem, seats: 'A-1' }, { ...redeem, seats: [1] },
  { ...without(redeem, 'seats'), best: {} }, { ...without(redeem, 'seats'), best: { count: 0 } },
  { ...without(redeem, 'seats'), best: { count: -1 } }, { ...without(redeem, 'seats'), best: { count: 1.5 } },
  { ...without(redeem, 'seats'), best: { count: '1' } }, { ...without(redeem, 'seats'), best: { count: 1, row: 3 } },
  { ...without(redeem, 'seats'), best: { count: 1, together: 'yes' } }, { ...without(redeem, 'seats'), best: 2 },
];
const OUT_OF_TURN = [{ type: 'ping' }, { type: 'leave' }, { type: 'seats' }, redeem];

/** Sends each on a socket of its own; all must end in 4400. */
async function allRefused(server, sale, messages, prepare) {
  await Promise.all(messages.map(async (message) => {
    const visitor = await server.connect(sale);
    await prepare?.(visitor);
    visitor.send(message);
    try {
      await visitor.closed(4400);
    } catch (error) {
      error.message = `after ${JSON.stringify(message)}: ${error.message}`;
      throw error;
    }
  }));
}

export default function theme(it, world) {
  it('what is no message at all is bad_message, before and after the join', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await allRefused(world.a, sale, NEVER_RIGHT);
    await allRefused(world.a, sale, NEVER_RIGHT, (visitor) => visitor.join());
  });

  it('a field too many, missing or of the wrong kind is bad_message', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    await allRefused(world.a, sale, NEVER_RIGHT_AFTER_JOIN, (visitor) => visitor.join());
  });

  it('nothing but join comes first', async () => {
    const sale = await world.a.sale();
    await allRefused(world.a, sale, OUT_OF_TURN);
  });

  it('a join while a place is live is out of turn: waiting, and with a grant', async () => {
    const sale = await world.a.sale({ max_active: 1 });
    const granted = await world.a.turn(sale);
    const waiting = await world.a.join(sale);
    assert.equal(waiting.joined.state, 'waiting');
    for (const visitor of [waiting, granted]) {
      visitor.send({ type: 'join', place: visitor.joined.place });
      await visitor.closed(4400);
    }
  });

  it('a binary frame is bad_message', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const first = await world.a.connect(sale);
    first.send(Buffer.from('{"type":"join"}'));
    await first.closed(4400);
    const later = await world.a.join(sale);
    later.send(Buffer.from('{"type":"ping"}'));
    await later.closed(4400);
  });

  it('a frame of 4096 bytes is read, also with characters of several bytes', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.connect(sale);
    visitor.send('{"type":"join"}'.padEnd(4096));
    await visitor.expect('joined');
    const request = '席'.repeat(64);
    const answer = await visitor.redeem({ request, token: 'no token', seats: ['é'.repeat(1000)] });
    assert.equal(answer.reason, 'token_invalid');
    assert.equal(answer.request, request);
  });

  for (const bytes of [4097, 5 << 10, 64 << 10, 1 << 20]) {
    it(`a frame of ${bytes} bytes ends in a 1009 that the client sees`, async () => {
      const sale = await world.a.sale({ phase: 'scheduled' });
      for (let i = 0; i < 4; i++) {
        const first = await world.a.connect(sale);
        first.send('{"type":"join"}'.padEnd(bytes));
        await first.closed(1009);
        const joined = await world.a.join(sale);
        joined.send('{"type":"ping"}'.padEnd(bytes));
        await joined.closed(1009);
      }
    });
  }

  it('a message in fragments, too big together, is too big', async () => {
    const visitor = await world.a.join(await world.a.sale({ phase: 'scheduled' }));
    visitor.socket.send('{"type":"ping"'.padEnd(3000), { fin: false });
    visitor.socket.send('}'.padStart(3000), { fin: true });
    await visitor.closed(1009);
  });

  it('who does not join within 10 s is closed 4408', async () => {
    const sale = await world.a.sale();
    const start = Date.now();
    const visitor = await world.a.connect(sale);
    const took = (await visitor.closed(4408, 30_000)).at - start;
    assert.ok(took > 9500 && took < within(12_000), `after ${took} ms`);
  });

  it('a burst of 40 messages and then 20 a second are served', async () => {
    const visitor = await world.a.join(await world.a.sale({ phase: 'scheduled' }));
    for (let i = 0; i < 39; i++) visitor.send({ type: 'ping' });
    for (let i = 0; i < 39; i++) await visitor.expect('pong');
    for (let i = 0; i < 30; i++) {
      await sleep(56);
      visitor.send({ type: 'ping' });
      await visitor.expect('pong');
    }
  });

  it('a flood is closed 4429', async () => {
    const visitor = await world.a.join(await world.a.sale({ phase: 'scheduled' }));
    const start = Date.now();
    for (let i = 0; i < 100; i++) visitor.send({ type: 'ping' });
    let close;
    do close = await visitor.next(); while (close.type === 'pong' || close.type === 'rank');
    assert.equal(close.code, 'too_many', visitor.heard());
    assert.equal(close.retry, true);
    assert.equal((await visitor.next()).code, 4429);
    const pongs = visitor.log.filter((message) => message.type === 'pong').length;
    const allowed = 41 + 20 * (Date.now() - start) / 1000;
    assert.ok(pongs >= 39 && pongs <= allowed, `${pongs} were served`);
  });

  it('a bad message ends one socket, not the place', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.join(sale);
    await world.a.join(sale);
    visitor.send('nonsense');
    await visitor.closed(4400);
    const back = await world.a.join(sale, { place: visitor.joined.place });
    assert.equal(back.joined.rank, 0);
    assert.equal(back.joined.total, 2);
  });
}
