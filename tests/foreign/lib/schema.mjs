// What a message of the server must look like: section 4 of the contract. Fields that are not named here are allowed.
const is = {
  string: (v) => typeof v === 'string',
  token: (v) => typeof v === 'string' && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(v),
  count: (v) => Number.isSafeInteger(v) && v >= 0,
  bool: (v) => typeof v === 'boolean',
  time: (v) => typeof v === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(v) && !Number.isNaN(Date.parse(v)),
  uuid: (v) => typeof v === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(v),
  base64: (v) => typeof v === 'string' && /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(v),
  eta: (v) => v === null || (Array.isArray(v) && v.length === 2 && v.every((n) => typeof n === 'number' && n >= 0) && v[0] <= v[1]),
};
const nullable = (rule) => (v) => v === null || rule(v);
const oneOf = (...values) => (v) => values.includes(v);
const listOf = (rule) => (v) => Array.isArray(v) && v.every(rule);
const optional = (rule) => Object.assign((v) => v === undefined || rule(v), { optional: true });

const RETRY = {
  seat_taken: true, unknown_seat: true, too_many_seats: true, no_seats_together: true, busy: true,
  sold_out: false, token_invalid: false, token_expired: false, not_granted: false,
};
export const CLOSE = {
  bad_message: 4400, identity_invalid: 4401, limit_reached: 4403, removed: 4403, join_timeout: 4408, replaced: 4409, sale_closed: 4410,
  too_many: 4429, proof_needed: 4429, unavailable: 4503,
};
const PHASES = ['scheduled', 'open', 'paused', 'all_held', 'sold_out', 'closed'];

export const STANDING = {
  place: nullable(is.token), state: oneOf('waiting', 'granted', 'booked'), rank: is.count, total: is.count, eta_s: is.eta,
  phase: oneOf(...PHASES), opens_at: nullable(is.time), now: is.time, epoch: is.count,
};
export const GRANTED = { token: is.token, expires_in_ms: is.count, claim_in_ms: nullable(is.count), max_seats: is.count };
export const BOOKING = {
  request: optional(is.string), booking: is.uuid, seats: listOf(is.string), status: oneOf('confirmed', 'held', 'released'),
  hold_expires_in_ms: optional(nullable(is.count)), together: is.bool,
};
export const ERROR = {
  code: is.string, message: (v) => is.string(v) && v.length > 0, retry: is.bool, after_ms: optional(is.count),
  proof: optional((v) => is.token(v?.challenge) && is.count(v?.bits)),
};
export const SALE = {
  id: is.string, name: is.string, phase: oneOf(...PHASES), opens_at: nullable(is.time), seats: is.count, seats_left: is.count,
  waiting: is.count, age_s: is.count,
};
export const SEAT_MAP = { version: is.count, taken: is.base64 };

const MESSAGES = {
  joined: STANDING,
  rank: { rank: is.count, total: is.count, eta_s: is.eta },
  granted: GRANTED,
  lapsed: { reason: oneOf('missed', 'expired', 'left', 'closed') },
  seat_map: SEAT_MAP,
  seats_changed: { version: is.count, taken: listOf(is.count), freed: listOf(is.count) },
  booking: BOOKING,
  refused: { request: is.string, reason: oneOf(...Object.keys(RETRY)), seats: optional(listOf(is.string)), retry: is.bool },
  phase: { phase: oneOf(...PHASES), opens_at: nullable(is.time) },
  notice: { text: is.string },
  outage: { on: is.bool },
  reconnect: { after_ms: is.count },
  error: { ...ERROR, code: oneOf(...Object.keys(CLOSE)) },
  pong: {},
};

/** What is wrong with `value` by the rules of `shape`, or nothing. */
export function fault(value, shape) {
  if (value === null || typeof value !== 'object') return `${JSON.stringify(value)} is no object`;
  const bad = Object.entries(shape).find(([field, rule]) => (field in value || !rule.optional) && !rule(value[field]));
  return bad && `${bad[0]} is ${JSON.stringify(value[bad[0]])} in ${JSON.stringify(value)}`;
}

/** What is wrong with a message of the server, or nothing. */
export function messageFault(message) {
  const shape = MESSAGES[message?.type];
  if (!shape) return `unknown type: ${JSON.stringify(message)}`;
  const wrong = fault(message, shape);
  if (wrong) return wrong;
  if (message.type === 'refused' && message.retry !== RETRY[message.reason]) {
    return `retry of ${message.reason} must be ${RETRY[message.reason]}`;
  }
  if (message.type === 'joined' && (message.place === null) !== (message.state === 'booked')) {
    return `place must be null exactly when booked: ${JSON.stringify(message)}`;
  }
  if (message.type === 'booking' && (message.status === 'held') !== Number.isInteger(message.hold_expires_in_ms)) {
    return `hold_expires_in_ms belongs to held ones: ${JSON.stringify(message)}`;
  }
  return undefined;
}
