// RFC 6455, in bytes: how a connection is closed, and what ends it. Of the Autobahn test suite's cases those that a server
// which does not echo can be asked.
import assert from 'node:assert/strict';
import { farewell, frame, OP, Raw } from '../lib/raw.mjs';

const JOIN = '{"type":"join"}';
const PING = '{"type":"ping"}';

/** A masked text frame that says its length in so many bytes more than its first. */
function wordy(payload, bytes) {
  const length = Buffer.alloc(bytes);
  length.writeUIntBE(payload.length, bytes - 2, 2);
  return Buffer.concat([Buffer.from([0x81, 0x80 | (bytes === 2 ? 126 : 127)]), length, Buffer.alloc(4), Buffer.from(payload)]);
}

/** Sends each case's frames on sockets of their own, before the join and after; the close that comes must be that one. */
async function allEnd(server, sale, cases) {
  const ways = [['before the join', Raw.connect], ['after it', Raw.join]];
  for (const [name, frames, expected] of cases) {
    await Promise.all(ways.map(async ([when, come]) => {
      const raw = await come(server, sale);
      raw.send(...frames);
      const { close, after } = await raw.ended();
      assert.ok(close, `${name}, ${when}: cut without a close frame: ${after}`);
      const got = typeof expected === 'number' ? close.readUInt16BE(0) : close.toString('hex');
      assert.equal(got, typeof expected === 'number' ? expected : expected.toString('hex'), `${name}, ${when}`);
      assert.deepEqual(after, ['fin'], `${name}, ${when}: after the close frame`);
    }));
  }
}

export default function theme(it, world) {
  it('a close is answered by the same, then the connection ends', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const bodies = [Buffer.alloc(0), farewell(1000), farewell(1000, 'bye'), farewell(1001), farewell(1003), farewell(1011, 'é'),
      farewell(3000), farewell(3999), farewell(4000), farewell(4999, '席'), farewell(1000, 'x'.repeat(123))];
    await allEnd(world.a, sale, bodies.map((body) => [`close ${body}`, [frame(OP.close, body)], body]));
  });

  it('what comes after a close is not heard', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const raw = await Raw.join(world.a, sale);
    raw.send(frame(OP.close, farewell(1000)), frame(OP.text, PING), frame(OP.ping, 'there?'));
    const { close, after } = await raw.ended();
    assert.deepEqual([close, after], [farewell(1000), ['fin']]);
    assert.deepEqual(raw.messages().filter(({ type }) => type === 'pong'), []);
  });

  it('an honest client sees its own code, not 1006', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const visitor = await world.a.join(sale);
    visitor.close();
    const { code } = await visitor.closed();
    assert.equal(code, 1000);
    const quiet = await world.a.connect(sale);
    quiet.socket.close(4321, 'no place wanted');
    const close = await quiet.closed();
    assert.deepEqual([close.code, close.reason], [4321, 'no place wanted']);
  });

  it('a close that may not be sent is a protocol error', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    await allEnd(world.a, sale, [
      ...codes.map((code) => [`close ${code}`, [frame(OP.close, farewell(code))], 1002]),
      ['a close of one byte', [frame(OP.close, 'x')], 1002],
      ['a close of 126 bytes', [frame(OP.close, farewell(1000, 'x'.repeat(124)))], 1002],
      ['a close in fragments', [frame(OP.close, farewell(1000), { fin: false })], 1002],
      ['a reason that is not UTF-8', [frame(OP.close, Buffer.concat([farewell(1000), Buffer.from([0xff, 0xfe])]))], 1007],
    ]);
  });

  it('frames that the RFC forbids are closed 1002, and not cut', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const text = (options) => frame(OP.text, PING, options);
    await allEnd(world.a, sale, [
      ['15 bytes, said in two', [wordy(PING, 2)], 1002],
      ['15 bytes, said in eight', [wordy(PING, 8)], 1002],
      ['300 bytes, said in eight', [wordy(PING + ' '.repeat(285), 8)], 1002],
      ...[1, 2, 4, 7].map((rsv) => [`reserved bits ${rsv}`, [text({ rsv })], 1002]),
      ['reserved bits of a ping', [frame(OP.ping, '', { rsv: 4 })], 1002],
      ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, [frame(opcode, 'x')], 1002]),
      ['a frame without a mask', [text({ masked: false })], 1002],
      ['a close without a mask', [frame(OP.close, farewell(1000), { masked: false })], 1002],
      ['a ping in fragments', [frame(OP.ping, 'x', { fin: false }), frame(OP.more, 'y')], 1002],
      ['a pong in fragments', [frame(OP.pong, 'x', { fin: false })], 1002],
      ['a ping of 126 bytes', [frame(OP.ping, 'x'.repeat(126))], 1002],
      ['a continuation of nothing', [frame(OP.more, PING)], 1002],
      ['a text inside another', [text({ fin: false }), text()], 1002],
      ['a binary inside a text', [text({ fin: false }), frame(OP.binary, 'x')], 1002],
    ]);
  });

  it('text that is not UTF-8 is closed 1007, whole or in fragments', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const bad = { 'a lone byte': [0x80], 'an overlong slash': [0xc0, 0xaf], 'a surrogate': [0xed, 0xa0, 0x80],
      'beyond the last character': [0xf4, 0x90, 0x80, 0x80], 'a cut character': [0xe5, 0xb8] };
    const cases = Object.entries(bad).flatMap(([name, bytes]) => [
      [name, [frame(OP.text, Buffer.from(bytes))], 1007],
      [`${name}, later`, [frame(OP.text, '{', { fin: false }), frame(OP.more, Buffer.from(bytes))], 1007],
    ]);
    // The fault is known before the message ends, so nobody waits for its end.
    cases.push(['at once', [frame(OP.text, Buffer.from([0xff]), { fin: false })], 1007]);
    await allEnd(world.a, sale, cases);
  });

  it('a message in fragments is read, also with pings between and a character cut in two', async () => {
    const sale = await world.a.sale({ phase: 'scheduled' });
    const raw = await Raw.connect(world.a, sale);
    raw.send(frame(OP.text, JOIN.slice(0, 5), { fin: false }), frame(OP.ping, 'one'), frame(OP.more, '', { fin: false }));
    await raw.pong('one');
    raw.send(frame(OP.pong, 'nobody asked'), frame(OP.more, JOIN.slice(5)));
    await raw.message('joined');
    const redeem = Buffer.from('{"type":"redeem","request":"席","token":"t","seats":["A-1"]}');
    const cut = redeem.indexOf('席') + 1;
    raw.send(frame(OP.text, redeem.subarray(0, cut), { fin: false }), frame(OP.more, redeem.subarray(cut)));
    assert.equal((await raw.message('refused')).request, '席');
    raw.send(frame(OP.close, farewell(1000)));
    assert.deepEqual((await raw.ended()).close, farewell(1000));
  });

  it('frames that come byte by byte are frames', async () => {
    const raw = await Raw.connect(world.a, await world.a.sale({ phase: 'scheduled' }));
    const pace = () => new Promise((done) => { setImmediate(done); });
    for (const byte of Buffer.concat([frame(OP.ping, 'x'.repeat(125)), frame(OP.text, JOIN)])) {
      raw.send(Buffer.from([byte]));
      await pace();
    }
    await raw.pong('x'.repeat(125));
    await raw.message('joined');
    raw.send(frame(OP.close));
    assert.equal((await raw.ended()).close.length, 0);
  });
}
