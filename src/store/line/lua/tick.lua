-- One tick of the ticker. Every instance calls it; the first of each 90 ms decides, so many do no harm.
-- ARGV: instance, age (ms) of the last proof that PostgreSQL can book.
-- Answers: {decided (0, or 1), now, phase, shift in all, admitted, [expired fences], missed, expired, closed, live grants}.
local TICK_MS_MIN = 90
local TICK_MS_MAX = 300 -- a tick that is late by a stall of the instances makes up for that (decision 0017)
local TICK_MS = 100 -- what a tick gives out that comes later still: an outage is not made up for
local PROOF_MS_MAX = 2500
local OUTAGE_MS = 5000
local GRACE_MS = 500 -- a redeem that reached the server in time may still be on its way here
local BATCH = 1000
local AWAY_MAX = 256

local instance, proof_age = ARGV[1], tonumber(ARGV[2])
renew_lease(instance)

local last = tonumber(redis.call('HGET', sale, 'last_tick')) or (now - TICK_MS_MIN)
local phase = redis.call('HGET', sale, 'phase')
local function skip()
  return { 0, now, phase, number('shift'), 0, {}, 0, 0, 0, redis.call('ZCARD', grants) }
end
if now >= last and now - last < TICK_MS_MIN then
  return skip()
end
if proof_age > PROOF_MS_MAX or journal_is_full() then
  return skip()
end

-- An outage of every way to book is added to every deadline; so is a step back of the clock.
local bookable_at = now - proof_age
local last_bookable = tonumber(redis.call('HGET', sale, 'bookable_at')) or bookable_at
local shift = 0
if now < last then
  shift = now - last
elseif bookable_at - last_bookable > OUTAGE_MS then
  shift = bookable_at - last_bookable
end
if shift ~= 0 then
  for _, key in ipairs({ grants, claims }) do
    local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #members, 2 do
      redis.call('ZADD', key, members[i + 1] + shift, members[i])
    end
  end
  redis.call('HSET', sale, 'outage_end', now)
  changes.shifted = shift
  redis.call('HINCRBY', sale, 'shift', math.max(shift, 0))
end
redis.call('HSET', sale, 'last_tick', now, 'bookable_at', now < last and bookable_at or math.max(bookable_at, last_bookable))

local counts = { missed = 0, expired = 0, closed = 0 }
local function lapse(visitor, reason)
  local place = place_of(visitor)
  drop_grant(visitor)
  if not place or place.state ~= 'g' then
    return
  end
  if reason == 'missed' and place.turn > 0 then
    reason = 'expired' -- the place was kept once already
  end
  if reason == 'missed' then
    place.state, place.turn = 'a', 1
    redis.call('ZADD', away, place.seq, visitor)
  else
    place.state = 'x'
  end
  put_place(visitor, place)
  counts[reason] = counts[reason] + 1
  note('lapsed', { visitor, place.seq, reason })
end

-- First lapses. A fenced grant is being redeemed and never lapses; whose fence ran out is asked for in PostgreSQL.
local expired_fences = {}
local function lapse_due(key, until_ms, reason)
  for _, visitor in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', until_ms, 'LIMIT', 0, BATCH)) do
    local fence = redis.call('ZSCORE', fences, visitor)
    if not fence then
      lapse(visitor, reason)
    elseif tonumber(fence) < now then
      local place = place_of(visitor)
      if place and place.state == 'g' then
        expired_fences[#expired_fences + 1] = { visitor, place.seq, place.turn }
      else
        drop_grant(visitor)
      end
    end
  end
end
lapse_due(claims, now - GRACE_MS, 'missed')
lapse_due(grants, now - GRACE_MS, 'expired')
if phase == 'closed' then
  lapse_due(grants, '+inf', 'closed')
end

-- Then admissions, if any are due.
local admitted = {}
if phase == 'open' and now >= number('admit_after') then
  -- Nor is time in which the sale stood still, or in which those who come back were waited for.
  local dt = math.max(now - math.max(last, number('bucket_at'), number('admit_after')), 0)
  if now - last > TICK_MS_MAX then
    dt = math.min(dt, TICK_MS)
  end
  local bucket = number('bucket') + number('rate') * dt / 1000
  local live = redis.call('ZCARD', grants)
  local budget = math.min(math.floor(bucket), number('max_active') - live - redis.call('SCARD', held),
    number('free') - live, BATCH)
  local deadline, claim = now + number('grant_ttl_ms'), now + number('claim_ms')
  local away_ms, passed_over = number('away_ms'), 0

  local function serve(queue)
    while #admitted < budget and passed_over < AWAY_MAX do
      local heads = redis.call('ZRANGE', queue, 0, budget - #admitted - 1, 'WITHSCORES')
      if #heads == 0 then
        return
      end
      for i = 1, #heads, 2 do
        local visitor = heads[i]
        if passed_over >= AWAY_MAX then
          return
        end
        local place = place_of(visitor)
        redis.call('ZREM', queue, visitor)
        if not place then
          place = { seq = tonumber(heads[i + 1]), turn = 0, owned = 0 }
        end
        local gone = absent_ms(visitor)
        if gone > 0 and gone >= away_ms then
          place.state = 'a'
          redis.call('ZADD', away, place.seq, visitor)
          note('away', { visitor, place.seq })
          passed_over = passed_over + 1
        else
          place.state = 'g'
          redis.call('ZADD', grants, deadline, visitor)
          redis.call('ZADD', claims, claim, visitor)
          admitted[#admitted + 1] = { visitor, place.seq, place.turn, place.owned, queue == returned and 1 or 0 }
        end
        put_place(visitor, place)
      end
    end
  end
  if budget > 0 then
    serve(returned)
    serve(line)
  end
  -- What was not used is gone: only the fraction is kept.
  redis.call('HSET', sale, 'bucket', tostring(bucket - math.floor(bucket)))
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
return { 1, now, phase, number('shift'), #admitted, expired_fences, counts.missed, counts.expired, counts.closed,
  redis.call('ZCARD', grants) }
