// The operator's API, what it refuses, and the numbers that it tells.
import assert from 'node:assert/strict';
import { ERROR, fault } from '../lib/schema.mjs';
import { ADMIN_TOKEN, call, identity, newSale, nextId, plan, until } from '../lib/world.mjs';

const SHOWN = ['waiting', 'away', 'granted', 'booked', 'held', 'seats_left', 'phase', 'admitted_total', 'lapsed_total', 'connections'];
const SET = ['id', 'name', 'rate', 'max_active', 'grant_ttl_s', 'claim_s', 'away_s', 'max_seats', 'hold_ttl_s', 'opens_at', 'anonymous', 'blocked'];

/** The plan with something changed. */
function spoiled(change) {
  const copy = plan(2, 3);
  change(copy, copy.zones[0].rows);
  return copy;
}

/** The page of the metrics as a map from series to value. */
async function metrics(server) {
  const { status, headers, text } = await call(server.adminPort, 'GET', '/metrics', { json: false });
  assert.equal(status, 200);
  assert.match(headers['content-type'], /text\/plain/);
  const series = text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const at = line.lastIndexOf(' ');
    return [line.slice(0, at), Number(line.slice(at + 1))];
  });
  return { text, series: new Map(series) };
}

export default function theme(it, world) {
  it('all but metrics and health wants the token', async () => {
    const id = await world.a.sale();
    const calls = [
      ['GET', '/sales'], ['POST', '/sales'], ['GET', `/sales/${id}`], ['PATCH', `/sales/${id}`], ['GET', `/sales/${id}/bookings`],
      ['GET', `/sales/${id}/visitors/ann`], ['POST', '/bookings/01890000-0000-7000-8000-000000000000/confirm'],
      ['DELETE', '/bookings/01890000-0000-7000-8000-000000000000'],
    ];
    for (const [method, path] of calls) {
      for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'Bearer ' }, { authorization: ADMIN_TOKEN }, { authorization: `Basic ${ADMIN_TOKEN}` }]) {
        const answer = await call(world.a.adminPort, method, `/v1/admin${path}`, { headers });
        assert.equal(answer.status, 401, `${method} ${path}`);
        assert.equal(fault(answer.body, ERROR), undefined);
      }
    }
    for (const path of ['/metrics', '/livez', '/readyz']) assert.equal((await call(world.a.adminPort, 'GET', path)).status, 200, path);
    assert.equal((await world.a.get('/v1/admin/sales')).status, 404, 'nothing of it on the public listener');
    assert.equal((await world.a.get('/metrics')).status, 404);
  });

  it('a sale is created with its settings and defaults, scheduled; the same id again is 409', async () => {
    const sale = newSale({ blocked: ['A-1'] });
    const created = await world.a.admin('POST', '/sales', sale);
    assert.equal(created.status, 201, created.text);
    for (const field of [...SHOWN, ...SET]) assert.ok(field in created.body, field);
    for (const [field, value] of Object.entries(sale)) if (field !== 'plan') assert.deepEqual(created.body[field], value, field);
    assert.deepEqual([created.body.phase, created.body.away_s, created.body.hold_ttl_s ?? 0, created.body.seats_left], ['scheduled', 5, 0, 19]);
    const again = await world.a.admin('POST', '/sales', newSale({ id: sale.id, name: 'Another' }));
    assert.equal(again.status, 409);
    assert.equal(fault(again.body, ERROR), undefined);
    assert.equal((await world.a.show(sale.id)).name, sale.name);
    const { claim_s, ...other } = newSale({ grant_ttl_s: 300 });
    assert.equal((await world.a.admin('POST', '/sales', other)).body.claim_s, 60);
    const { claim_s: _, ...short } = newSale({ grant_ttl_s: 20 });
    assert.equal((await world.a.admin('POST', '/sales', short)).body.claim_s, 20, 'at most grant_ttl_s');
  });

  it('one id at once on both instances: one is created, the other 409', async () => {
    const sale = newSale();
    const answers = await Promise.all([world.a, world.b, world.a, world.b].map((server) => server.admin('POST', '/sales', sale)));
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, 409, 409, 409]);
  });

  it('a bad setting is 422 with its name, at creation and later', async () => {
    const bad = {
      id: ['', 'Upper', 'a b', 'a/b', 'ü', 'x'.repeat(65), 7], name: ['', 7], rate: [0, -1, '5', 1e9], max_active: [0, -1, 1.5],
      grant_ttl_s: [0, -5, 'x'], claim_s: [0, 31], away_s: [-1, 'x'], max_seats: [0, -1], hold_ttl_s: [-1, 'x'],
      opens_at: ['tomorrow', 'x', 5], blocked: [['Z-1'], 'A-1', [1]], anonymous: ['yes'], plan: [[], 'x', 7], colour: ['red'],
    };
    for (const [field, values] of Object.entries(bad)) {
      for (const value of values) {
        const answer = await world.a.admin('POST', '/sales', newSale({ [field]: value }));
        assert.equal(answer.status, 422, `${field} ${JSON.stringify(value)}: ${answer.text}`);
        assert.equal(fault(answer.body, ERROR), undefined);
        assert.ok(answer.body.message.includes(field), `${field} in: ${answer.body.message}`);
      }
    }
    for (const field of ['id', 'name', 'plan', 'rate', 'max_active', 'grant_ttl_s', 'max_seats']) {
      const answer = await world.a.admin('POST', '/sales', newSale({ [field]: undefined }));
      assert.deepEqual([answer.status, answer.body?.message?.includes(field)], [422, true], field);
    }
    const id = await world.a.sale();
    const before = await world.a.show(id);
    const { id: _, name, anonymous, plan: __, ...changeable } = bad;
    for (const [field, values] of Object.entries(changeable)) {
      for (const value of values) {
        const answer = await world.a.admin('PATCH', `/sales/${id}`, { [field]: value });
        assert.equal(answer.status, 422, `${field} ${JSON.stringify(value)}: ${answer.text}`);
        assert.ok(answer.body.message.includes(field), answer.body.message);
      }
    }
    const ttl = await world.a.admin('PATCH', `/sales/${id}`, { grant_ttl_s: 10 });
    assert.equal(ttl.status, 422, 'claim_s would be longer than it');
    for (const body of ['{', '[]', '7', '']) {
      assert.ok([400, 422].includes((await world.a.admin('PATCH', `/sales/${id}`, body)).status), body);
    }
    const after = await world.a.show(id);
    for (const field of SET) assert.deepEqual(after[field], before[field], field);
    assert.equal((await world.a.admin('PATCH', '/sales/no-such-sale', { rate: 5 })).status, 404);
    assert.equal((await world.a.admin('GET', '/sales/no-such-sale')).status, 404);
  });

  it('a bad plan is refused with the path of the fault; extra keys are ignored', async () => {
    const bad = [
      ['zones[0].rows[1].seats[2].seat_guid', spoiled((_, rows) => { rows[1].seats[2].seat_guid = 'A-1'; })],
      ['zones[0].rows[0].seats[1].category', spoiled((_, rows) => { rows[0].seats[1].category = 'None'; })],
      ['zones[0].rows[0].seats[0]', spoiled((_, rows) => { delete rows[0].seats[0].seat_guid; })],
      ['zones', spoiled((hall) => { hall.zones = []; })],
      ['zones', spoiled((hall, rows) => { rows.forEach((row) => { row.seats = []; }); })],
      ['categories', spoiled((hall) => { delete hall.categories; })],
    ];
    for (const [path, hall] of bad) {
      const answer = await world.a.admin('POST', '/sales', newSale({ plan: hall }));
      assert.equal(answer.status, 422, path);
      assert.ok(answer.body.message.includes(path), `${path} in: ${answer.body.message}`);
    }
    const extra = spoiled((hall, rows) => { hall.notes = 'x'; rows[0].shape = { curve: 3 }; rows[0].seats[0].wheelchair = true; });
    assert.equal((await world.a.admin('POST', '/sales', newSale({ plan: extra }))).status, 201);
    const large = await world.a.admin('POST', '/sales', newSale({ plan: { ...plan(1, 1), notes: 'x'.repeat(33 << 20) } }));
    assert.ok([413, 422].includes(large.status), `${large.status}`);
    assert.match(large.text, /plan/);
  });

  it('the list and the numbers of a sale', async () => {
    const id = await world.a.sale({ max_active: 2, plan: plan(2, 10), hold_ttl_s: 60 });
    const [granted, holder] = [await world.a.turn(id), await world.a.turn(id)];
    await holder.redeem({ seats: ['A-1', 'A-2', 'A-3'] });
    await world.a.join(id);
    const numbers = async () => {
      const { waiting, granted, booked, held, seats_left, admitted_total, connections, phase } = await world.a.show(id);
      return JSON.stringify([waiting, granted, booked, held, seats_left, admitted_total, connections, phase]);
    };
    await until('the numbers', async () => await numbers() === JSON.stringify([1, 1, 0, 1, 17, 2, 3, 'open']));
    granted.send({ type: 'leave' });
    const { body } = await world.a.admin('GET', '/sales');
    const listed = (Array.isArray(body) ? body : body.sales).find((sale) => sale.id === id);
    for (const field of [...SHOWN, ...SET]) assert.ok(field in listed, field);
  });

  it('bookings as NDJSON, or as CSV', async () => {
    const id = await world.a.sale({ anonymous: false, hold_ttl_s: 60 });
    const names = ['ann', 'bob "the, builder"'];
    for (const [i, name] of names.entries()) {
      const visitor = await world.a.turn(id, { identity: identity(name, id) });
      await visitor.redeem({ seats: [`A-${2 * i + 1}`, `A-${2 * i + 2}`] });
    }
    const lines = await world.a.admin('GET', `/sales/${id}/bookings`);
    assert.match(lines.headers['content-type'], /ndjson/);
    const rows = lines.text.trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(rows.map((row) => row.visitor), names);
    for (const row of rows) {
      assert.deepEqual(Object.keys(row).sort(), ['booking', 'created_at', 'hold_expires_at', 'sale', 'seats', 'status', 'visitor']);
      assert.deepEqual([row.sale, row.status, row.seats.length], [id, 'held', 2]);
      assert.ok(Math.abs(Date.parse(row.hold_expires_at) - Date.parse(row.created_at) - 60_000) < 1000);
    }
    const csv = await world.a.admin('GET', `/sales/${id}/bookings`, undefined, { accept: 'text/csv' });
    assert.match(csv.headers['content-type'], /text\/csv/);
    const [head, first, second, end] = csv.text.split(/\r?\n/);
    assert.equal(head, 'booking,sale,visitor,seats,status,created_at,hold_expires_at');
    assert.ok(first.includes(rows[0].booking) && first.includes('ann') && first.includes('A-1'), first);
    assert.ok(second.includes('"bob ""the, builder"""'), second);
    assert.equal(end, '');
    const empty = await world.a.admin('GET', `/sales/${await world.a.sale()}/bookings`);
    assert.deepEqual([empty.status, empty.text], [200, '']);
  });

  it('the metrics of the contract, each with HELP, counted', async () => {
    const id = await world.a.sale({ max_active: 2, claim_s: 5, phase: 'scheduled' });
    const visitors = await Promise.all(Array.from({ length: 5 }, () => world.a.join(id, {})));
    await world.a.patch(id, { phase: 'open' });
    const first = visitors.find((visitor) => visitor.joined.rank === 0);
    await first.granted();
    await first.redeem({ seats: ['A-1'] });
    await until('all lapsed', async () => (await world.a.show(id)).lapsed_total === 4);
    const sale = `{sale="${id}"}`;
    const { text, series } = await until('the gauges', async () => {
      const page = await metrics(world.a);
      return page.series.get(`waitroom_seats_left${sale}`) === 19 && page.series.get(`waitroom_grants_active${sale}`) === 0 && page;
    });
    const other = (await metrics(world.b)).series;
    const sum = (name) => [series, other].flatMap((page) => [...page]).filter(([key]) => key.startsWith(name) && key.includes(`"${id}"`)).reduce((all, [, value]) => all + value, 0);
    assert.equal(series.get(`waitroom_joins_total${sale}`), 5);
    assert.equal(sum('waitroom_admissions_total'), 5);
    assert.equal(sum('waitroom_lapses_total'), 4);
    const redeems = [...series].filter(([key]) => key.startsWith('waitroom_redeems_total') && key.includes(id));
    const happened = redeems.filter(([, value]) => value > 0);
    assert.deepEqual(happened.map(([key, value]) => [key.includes('outcome="booked"'), value]), [[true, 1]], 'one redeem, one outcome');
    assert.ok(series.get('waitroom_rank_pushes_total') > 0);
    assert.ok(series.get('waitroom_connections') >= 5);
    const histograms = ['join_duration_seconds', 'rank_age_seconds', 'grant_delivery_seconds', 'redeem_duration_seconds',
      'copy_duration_seconds', 'redis_duration_seconds', 'copy_rows'];
    for (const name of histograms) {
      assert.match(text, new RegExp(`^# TYPE waitroom_${name} histogram$`, 'm'));
      assert.match(text, new RegExp(`^waitroom_${name}_bucket\\{.*le="\\+Inf"\\} [1-9]`, 'm'), `${name} has counted`);
    }
    assert.match(text, /^waitroom_redis_duration_seconds_count\{operation="/m);
    assert.match(text, /^waitroom_build_info\{.*\} 1$/m);
    const named = new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map((match) => match[1]));
    for (const name of named) assert.match(text, new RegExp(`^# HELP ${name} .{5,}$`, 'm'), `HELP of ${name}`);
    const labels = new Set([...series.keys()].flatMap((key) => [...key.matchAll(/(\w+)="/g)].map((match) => match[1])));
    for (const label of labels) assert.ok(['sale', 'outcome', 'operation', 'reason', 'le', 'quantile', 'version', 'commit', 'store', 'state', 'phase', 'cache'].includes(label), `the label ${label}`);
  });

  it('a removed visitor is told so and closed 4403; he comes again unless he is banned', async () => {
    const sale = await world.a.sale({ anonymous: false, phase: 'scheduled' });
    const ann = await world.b.join(sale, { identity: identity('ann', sale) });
    const bob = await world.b.join(sale, { identity: identity('bob', sale) });
    const removed = await world.a.admin('DELETE', `/sales/${sale}/visitors/ann`);
    assert.deepEqual([removed.status, removed.body], [200, { visitor: 'ann', sale, ended: true, banned: false }]);
    await ann.closed(4403);
    const again = await world.a.join(sale, { identity: identity('ann', sale) });
    assert.equal(again.joined.rank, 1, 'behind bob');
    assert.equal((await world.b.admin('DELETE', `/sales/${sale}/visitors/ann?ban=true`)).body.banned, true);
    await again.closed(4403);
    for (const server of [world.a, world.b]) {
      const refused = await server.connect(sale);
      refused.send({ type: 'join', identity: identity('ann', sale) });
      await refused.closed(4403);
      const posted = await server.post(`/v1/sales/${sale}/places`, { headers: { authorization: `Bearer ${identity('ann', sale)}` } });
      assert.deepEqual([posted.status, posted.body.code], [403, 'removed']);
      assert.equal(fault(posted.body, ERROR), undefined);
    }
    assert.equal((await world.a.show(sale)).waiting, 1);
    bob.send({ type: 'ping' });
    await bob.expect('pong');
    const { text } = await call(world.a.adminPort, 'GET', '/v1/admin/audit', { json: false, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    const noted = text.trim().split('\n').map((line) => JSON.parse(line)).filter((note) => note.sale === sale);
    assert.deepEqual(noted.map(({ who, action, visitor }) => [who, action, visitor]),
      [['admin', 'sale created', undefined], ['admin', 'visitor removed', 'ann'], ['admin', 'visitor removed', 'ann']]);
  });

  it('a person is forgotten: bookings keep their seats under a blank name', async () => {
    const sale = await world.a.sale({ anonymous: false });
    const name = `gus-${sale}`;
    const gus = await world.a.join(sale, { identity: identity(name, sale) });
    await gus.granted();
    const { booking } = await gus.redeem({ seats: ['A-1'] });
    const answer = await world.b.admin('DELETE', `/visitors/${name}`);
    assert.deepEqual([answer.status, answer.body.bookings], [200, 1], answer.text);
    await gus.closed(4403);
    const shown = (await world.a.admin('GET', `/bookings/${booking}`)).body;
    assert.deepEqual([shown.visitor, shown.seats, shown.status], ['', ['A-1'], 'confirmed']);
    const { text } = await world.a.admin('GET', `/sales/${sale}/bookings`);
    assert.ok(!text.includes(name));
    assert.equal((await world.a.admin('GET', `/sales/${sale}/visitors/${name}`)).status, 404);
  });

  it('a new id may be one letter or 64', async () => {
    const long = `${nextId()}-`.padEnd(64, 'x');
    assert.equal((await world.a.admin('POST', '/sales', newSale({ id: long }))).status, 201);
    assert.equal((await world.a.get(`/v1/sales/${long}`)).body.id, long);
  });
}
