-- One tick of the ticker. Every instance calls it; the first of each 90 ms decides, so many do no harm.
-- ARGV: instance, age (ms) of the last proof that PostgreSQL can book.
-- Answers: {what came of it, now, phase, shift in all, admitted, [expired fences], missed, expired, closed, live grants,
-- instances that live}. What came of it: 0 nothing, somebody ticked just now; 1 it decided; 2 nothing, it must not; 3 some of what
-- is due, the rest by the next call, which is to come at once: Redis serves nobody else meanwhile, so one call does no more of
-- anything than takes some milliseconds in a line of a million.
local TICK_MS_MIN = 90
local TICK_MS_MAX = 300 -- a tick that is late by a stall of the instances makes up for that (decision 0017)
local TICK_MS = 100 -- what a tick gives out that comes later still: an outage is not made up for
local PROOF_MS_MAX = 2500
local OUTAGE_MS = 5000
local GRACE_MS = 500 -- a redeem that reached the server in time may still be on its way here
local BATCH = 300 -- lapses in one call, and admissions
local SHIFTS = 1000 -- deadlines that one call moves
local AWAY_MAX = 256

local instance, proof_age = ARGV[1], tonumber(ARGV[2])
renew_lease(instance)

local last, phase, shifting, begun_by = unpack(redis.call('HMGET', sale, 'last_tick', 'phase', 'shifting', 'begun_by'))
last = tonumber(last) or (now - TICK_MS_MIN)
local is_early = now >= last and now - last < TICK_MS_MIN
local goes_on = begun_by == instance and is_early
local admitted, expired_fences, counts = {}, {}, { missed = 0, expired = 0, closed = 0 }
local function answer(what)
  return { what, now, phase, number('shift'), #admitted, expired_fences, counts.missed, counts.expired, counts.closed,
    redis.call('ZCARD', grants), redis.call('ZCOUNT', instances, now, '+inf') }
end
-- The rest is this instance's to do, for a moment.
local function done_but_for(rest)
  if rest then
    redis.call('HSET', sale, 'begun_by', instance)
  elseif begun_by then
    redis.call('HDEL', sale, 'begun_by')
  end
  return answer(rest and 3 or 1)
end
if is_early and not goes_on then
  return answer(0)
end
if proof_age > PROOF_MS_MAX or journal_is_full() then
  return answer(2)
end

-- An outage of every way to book is added to every deadline; so is a step back of the clock.
local bookable_at = now - proof_age
local last_bookable = tonumber(redis.call('HGET', sale, 'bookable_at')) or bookable_at
local function shift_due()
  if now < last then
    return now - last
  end
  return bookable_at - last_bookable > OUTAGE_MS and bookable_at - last_bookable or 0
end

-- Moves some deadlines, from the far end on, so that none is met twice; those of the same moment together. Answers whether that
-- was all.
local function shift_some(key, mark, shift)
  local from = redis.call('HGET', sale, mark)
  if not from then
    return true
  end
  local some
  if shift > 0 then
    some = redis.call('ZRANGE', key, from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, SHIFTS, 'WITHSCORES')
  else
    some = redis.call('ZRANGE', key, from, '+inf', 'BYSCORE', 'LIMIT', 0, SHIFTS, 'WITHSCORES')
  end
  local is_last, at, moved = #some < 2 * SHIFTS, some[#some], {}
  for _, members in ipairs({ some, is_last and {} or redis.call('ZRANGE', key, at, at, 'BYSCORE', 'WITHSCORES') }) do
    for i = 1, #members, 2 do
      moved[#moved + 1] = string.format('%.0f', members[i + 1] + shift)
      moved[#moved + 1] = members[i]
    end
  end
  many('ZADD', key, moved)
  if is_last then
    redis.call('HDEL', sale, mark)
  else
    redis.call('HSET', sale, mark, '(' .. at)
  end
  return is_last
end

shifting = tonumber(shifting)
if now < last then
  -- Nor is anything waited for that the clock shows a second time; what is to come is as far away as it was.
  for _, mark in ipairs({ 'bucket_at', 'outage_end' }) do
    if number(mark) > now then
      redis.call('HSET', sale, mark, now)
    end
  end
  if number('admit_after') > now then
    redis.call('HSET', sale, 'admit_after', math.max(now, number('admit_after') + now - last))
  end
end
if not shifting and shift_due() ~= 0 then
  shifting = shift_due()
  local far = shifting > 0 and '+inf' or '-inf'
  redis.call('HSET', sale, 'shifting', shifting, 'unshifted_grants', far, 'unshifted_claims', far,
    'bookable_at', now < last and bookable_at or math.max(bookable_at, last_bookable), 'last_tick', now)
elseif shifting then
  -- What has come in between is due when this is done.
  redis.call('HSET', sale, 'last_tick', math.max(now, last))
else
  redis.call('HSET', sale, 'last_tick', now, 'bookable_at', math.max(bookable_at, last_bookable))
end
if shifting then
  if not (shift_some(grants, 'unshifted_grants', shifting) and shift_some(claims, 'unshifted_claims', shifting)) then
    return done_but_for(true)
  end
  redis.call('HDEL', sale, 'shifting')
  redis.call('HSET', sale, 'outage_end', now)
  redis.call('HINCRBY', sale, 'shift', math.max(shifting, 0))
  changes.shifted = shifting
end

-- First lapses. A fenced grant is being redeemed and never lapses; whose fence ran out is asked for in PostgreSQL.
local may_lapse, any_over = BATCH, false
local function lapse_due(key, until_ms, reason)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', until_ms, 'LIMIT', 0, may_lapse)
  may_lapse = may_lapse - #due
  local records, standing = ask('HMGET', places, due), ask('ZMSCORE', fences, due)
  local over, put, kept = {}, {}, {}
  for i, visitor in ipairs(due) do
    local place, fence = place_in(records[i]), tonumber(standing[i] or nil)
    local lives = place and place.state == 'g'
    if fence and lives and fence < now then
      expired_fences[#expired_fences + 1] = { visitor, place.seq, place.turn }
    elseif not fence or fence < now then
      over[#over + 1] = visitor
    end
    if lives and not fence then
      -- A place that was kept once already is not kept again.
      local why = reason == 'missed' and place.turn > 0 and 'expired' or reason
      if why == 'missed' then
        place.state, place.turn = 'a', 1
        kept[#kept + 1] = string.format('%.0f', place.seq)
        kept[#kept + 1] = visitor
      else
        place.state = 'x'
      end
      put[#put + 1] = visitor
      put[#put + 1] = record_of(place)
      counts[why] = counts[why] + 1
      note('lapsed', { visitor, place.seq, why })
    end
  end
  any_over = any_over or #over > 0
  drop_grants(over)
  many('ZADD', away, kept)
  many('HSET', places, put)
end
lapse_due(claims, now - GRACE_MS, 'missed')
lapse_due(grants, now - GRACE_MS, 'expired')
if phase == 'closed' then
  lapse_due(grants, '+inf', 'closed')
end

local rest = may_lapse == 0 and any_over

-- Then admissions, if any are due.
if phase == 'open' then
  -- Time in which the sale stood still, or in which those who come back are waited for, gives out nothing.
  local dt = math.max(now - math.max(last, number('bucket_at'), number('admit_after')), 0)
  if now - last > TICK_MS_MAX then
    dt = math.min(dt, TICK_MS)
  end
  -- What the call before has left is given out by this one or not at all: but for a fraction, what was not used is gone.
  local left = number('bucket')
  local bucket = (goes_on and left or left - math.floor(left)) + number('rate') * dt / 1000
  local live = redis.call('ZCARD', grants)
  local budget = math.min(math.floor(bucket), number('max_active') - live - redis.call('SCARD', held),
    number('free') - live)
  local in_all = math.min(budget, BATCH)
  local deadline, claim = now + number('grant_ttl_ms'), now + number('claim_ms')
  local away_ms, passed_over = number('away_ms'), 0

  -- Serves some from the head of a queue; answers whether there may be more.
  local function serve_some(queue)
    local heads = redis.call('ZRANGE', queue, 0, in_all - #admitted - 1, 'WITHSCORES')
    local visitors, put, passed, due, unused = {}, {}, {}, {}, {}
    for i = 1, #heads, 2 do
      visitors[#visitors + 1] = heads[i]
    end
    local records, seen = ask('HMGET', places, visitors), ask('HMGET', presence, visitors)
    local served = 0
    for i, visitor in ipairs(visitors) do
      if passed_over >= AWAY_MAX then
        break
      end
      served = i
      local place = place_in(records[i]) or { seq = tonumber(heads[2 * i]), turn = 0, owned = 0 }
      local gone = absent_ms(seen[i])
      if gone > 0 and gone >= away_ms then
        place.state = 'a'
        passed[#passed + 1] = string.format('%.0f', place.seq)
        passed[#passed + 1] = visitor
        note('away', { visitor, place.seq })
        passed_over = passed_over + 1
      else
        place.state = 'g'
        due[#due + 1], due[#due + 2] = deadline, visitor
        unused[#unused + 1], unused[#unused + 2] = claim, visitor
        admitted[#admitted + 1] = { visitor, place.seq, place.turn, place.owned, queue == returned and 1 or 0 }
      end
      put[#put + 1] = visitor
      put[#put + 1] = record_of(place)
    end
    if served > 0 then
      redis.call('ZREMRANGEBYRANK', queue, 0, served - 1)
    end
    many('ZADD', away, passed)
    many('ZADD', grants, due)
    many('ZADD', claims, unused)
    many('HSET', places, put)
    return served > 0
  end
  for _, queue in ipairs({ returned, line }) do
    while #admitted < in_all and passed_over < AWAY_MAX and serve_some(queue) do
    end
  end
  if #admitted == BATCH and budget > BATCH then
    rest = true
    redis.call('HSET', sale, 'bucket', tostring(bucket - BATCH))
  else
    redis.call('HSET', sale, 'bucket', tostring(bucket - math.floor(bucket)))
  end
  if #admitted > 0 then
    changes.admitted = admitted
    changes.deadline, changes.claim = deadline, claim
    redis.call('HINCRBY', sale, 'admitted_total', #admitted)
  end
end

local lapsed = counts.missed + counts.expired + counts.closed
if lapsed > 0 then
  redis.call('HINCRBY', sale, 'lapsed_total', lapsed)
end
if next(changes) ~= nil then
  changes.by = instance -- who counts it
end
publish()
return done_but_for(rest)
