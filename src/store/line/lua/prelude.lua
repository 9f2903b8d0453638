-- Stands in front of every script: the keys of one sale, Redis' clock, and the one way to change the stream.
-- Scripts validate first and write after: Redis has no rollback.
local line, returned, away, places, grants, claims, fences, presence, instances, booked, blocked, taken, held,
  events, strangers, sale, banned = unpack(KEYS)

-- Bytes of entries that may wait for the journal. What is not journaled is not trimmed, so more would fill Redis.
local UNJOURNALED_MAX = 256 * 1024 * 1024

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) -- ms; the only clock of a line

-- What this call changes. One call is one entry of the stream, however much it did.
local changes = {}
local function note(kind, value)
  local list = changes[kind]
  if not list then
    list = {}
    changes[kind] = list
  end
  list[#list + 1] = value
end

-- Entries of a foreign hand that one call takes out of the stream.
local STRAY_MAX = 1000

-- Appends the changes as entry n of this epoch; answers n either way.
local function publish()
  if next(changes) == nil then
    return tonumber(redis.call('HGET', sale, 'n') or 0)
  end
  local n = redis.call('HINCRBY', sale, 'n', 1)
  local epoch, before = unpack(redis.call('HMGET', sale, 'epoch', 'written'))
  changes.at, changes.written = now, tonumber(before) or 0
  local entry = cjson.encode(changes)
  local function add()
    return redis.pcall('XADD', events, epoch .. '-' .. n, 'd', entry)
  end
  local added = add()
  if type(added) == 'table' and added.err and added.err:find('equal or smaller', 1, true) then
    -- What no line of this epoch wrote is taken out, and the stream goes on from what is left of it. It may be ahead of its
    -- counter all the same, as after a restore that was not whole: then the counter goes on from there.
    local last_n = 0
    for _, last in ipairs(redis.call('XREVRANGE', events, '+', '(' .. epoch .. '-' .. n - 1, 'COUNT', STRAY_MAX)) do
      local last_epoch, number = last[1]:match('^(%d+)-(%d+)$')
      if last_epoch == epoch and last[2][1] == 'd' then
        last_n = tonumber(number)
        break
      end
      redis.call('XDEL', events, last[1])
    end
    n = math.max(n, last_n + 1)
    redis.call('XSETID', events, epoch .. '-' .. n - 1)
    redis.call('HSET', sale, 'n', n)
    added = add()
  end
  if type(added) == 'table' and added.err then
    error(added)
  end
  redis.call('HSET', sale, 'written', changes.written + #entry)
  return n
end

-- An instance's sockets count as present while its lease lives. It is not written anew by each call: that would be a write, and
-- one to the disk, where otherwise nothing is.
local LEASE_MS = 5000
local RENEWED_MS = 500
local function renew_lease(instance)
  local ends = tonumber(redis.call('ZSCORE', instances, instance) or 0)
  if ends < now + LEASE_MS - RENEWED_MS or ends > now + LEASE_MS then
    redis.call('ZADD', instances, now + LEASE_MS, instance)
  end
end

local function number(field)
  return tonumber(redis.call('HGET', sale, field) or 0) or 0
end

-- Whether so much waits for the journal that nothing may be added which can wait: draws and ticks.
local function journal_is_full()
  local written, journaled, max = unpack(redis.call('HMGET', sale, 'written', 'journaled', 'unjournaled_max'))
  return (tonumber(written) or 0) - (tonumber(journaled) or 0) > (tonumber(max) or UNJOURNALED_MAX)
end

-- A place is 'state:seq:turn:owned'. States: w in the line, r returned, a away (or missed: turn 1), g granted,
-- b booked, x ended. owned: seats that the visitor had booked when the place was drawn. What a newer program wrote
-- after that is kept as it is.
local function place_in(record)
  if not record then
    return nil
  end
  local state, seq, turn, owned, rest = record:match('^(%a):(%d+):(%d+):(%d+)(.*)$')
  return { state = state, seq = tonumber(seq), turn = tonumber(turn), owned = tonumber(owned), rest = rest }
end

local function record_of(place)
  return string.format('%s:%.0f:%d:%d', place.state, place.seq, place.turn, place.owned) .. (place.rest or '')
end

-- The seats owned, if the record is a place with just this grant alive. It comes once for each redeem, so it takes
-- nothing apart.
local function owned_of_granted(record, seq, turn)
  local start = 'g:' .. seq .. ':' .. turn .. ':'
  return record and record:sub(1, #start) == start and record:match('^%d+', #start + 1) or nil
end

-- A batch is written by few commands of many members: each command costs as much as a handful of members. Members
-- that belong together (a score and a name, say) must not be parted: the step divides by two, three and four.
local STEP = 3996
local function many(command, key, members)
  for i = 1, #members, STEP do
    redis.call(command, key, unpack(members, i, math.min(i + STEP - 1, #members)))
  end
end

-- The same for questions: the answers, in order.
local function ask(command, key, members)
  local answers = {}
  for i = 1, #members, STEP do
    for _, answer in ipairs(redis.call(command, key, unpack(members, i, math.min(i + STEP - 1, #members)))) do
      answers[#answers + 1] = answer
    end
  end
  return answers
end

-- A bitmap as the journal has it: the numbers of the bits that are set; nil for none, since cjson would write an empty list
-- as an object. Redis counts bits from the highest.
local function members(bitmap)
  local list = {}
  for at = 1, #bitmap do
    local byte = bitmap:byte(at)
    for bit = 0, byte == 0 and -1 or 7 do
      if math.floor(byte / 2 ^ (7 - bit)) % 2 == 1 then
        list[#list + 1] = (at - 1) * 8 + bit
      end
    end
  end
  return next(list) and list
end

-- Takes visitors out of every set that a live grant is in.
local function drop_grants(visitors)
  for _, key in ipairs({ grants, claims, fences }) do
    many('ZREM', key, visitors)
  end
end

-- Milliseconds since a visitor was last here, by his record in presence; 0 while he is.
local leases, outage_end = {}, nil
local function absent_ms(record)
  local kind, rest = record and record:sub(1, 1) or 'a', record and record:sub(3) or '0'
  local since
  if kind == 'i' then
    local his = rest:match('^([^:]+)')
    leases[his] = leases[his] or tonumber(redis.call('ZSCORE', instances, his) or 0)
    since = leases[his]
  else
    since = tonumber(rest) -- p: a poll is good until then; a: gone since then
  end
  -- Nobody is called absent for the time in which he could not come.
  outage_end = outage_end or number('outage_end')
  return math.max(0, now - math.max(since, outage_end))
end

-- Counts the free seats anew and moves the phase with them: all_held and sold_out follow from the seats alone.
local function refresh_phase(seats_changed)
  if seats_changed then
    redis.call('BITOP', 'OR', taken, booked, blocked)
    redis.call('HSET', sale, 'free', number('seats') - redis.call('BITCOUNT', taken))
  end
  local phase = redis.call('HGET', sale, 'command')
  if phase == 'open' and number('free') <= 0 then
    phase = redis.call('SCARD', held) > 0 and 'all_held' or 'sold_out'
  end
  if phase ~= redis.call('HGET', sale, 'phase') then
    -- A bucket that is empty, and fills from now on: no pause is followed by a burst.
    redis.call('HSET', sale, 'phase', phase, 'bucket', 0, 'bucket_at', now)
    changes.phase = phase
  end
  return phase
end
