-- Stands in front of the scripts that answer visitors how they stand. ARGV[1] is the instance.
local instance = ARGV[1]
local closed = redis.call('HGET', sale, 'command') == 'closed'
renew_lease(instance)

-- What is known of those who ask, read by one command for all of them; what changes is kept here, for who asks twice, and
-- written by one command at the end. Who has no place was never seen.
local records, seen = {}, {}
local function know(visitors)
  local known = {}
  for i, record in ipairs(ask('HMGET', places, visitors)) do
    records[visitors[i]] = record
    known[#known + 1] = record and visitors[i] or nil
  end
  for i, record in ipairs(ask('HMGET', presence, known)) do
    seen[known[i]] = record
  end
end

local written = { places = {}, presence = {}, line = {}, returned = {}, away = {} }
local function write(list, one, other)
  list[#list + 1] = one
  list[#list + 1] = other
end

local function put(visitor, place)
  records[visitor] = record_of(place)
  write(written.places, visitor, records[visitor])
end

local function see(visitor, presence_now)
  if seen[visitor] ~= presence_now then
    seen[visitor] = presence_now
    write(written.presence, visitor, presence_now)
  end
end

-- Seen over a socket.
local here = 'i:' .. instance .. ':'
local function connected(visitor, connection)
  local before = seen[visitor]
  see(visitor, here .. connection)
  if before and before:sub(1, 1) == 'i' and before:sub(1, #here) ~= here then
    note('moved', { visitor, instance, connection })
  end
end

-- Seen over a call without a socket, which is good for so long; a socket that lives is better.
local function called(visitor, poll_ms)
  local before = seen[visitor]
  if not before or before:sub(1, 1) ~= 'i' or absent_ms(before) > 0 then
    see(visitor, 'p:' .. string.format('%.0f', now + tonumber(poll_ms)))
  end
end

local function come_back(visitor, place)
  write(written.away, visitor)
  write(written.returned, string.format('%.0f', place.seq), visitor)
  note('returned', { visitor, place.seq })
  place.state = 'r'
  return place
end

local function write_all()
  many('HSET', places, written.places)
  many('HSET', presence, written.presence)
  many('ZADD', line, written.line)
  many('ZREM', away, written.away)
  many('ZADD', returned, written.returned)
end

-- Places that were drawn one after another stand one after another: the rank of the first tells all of theirs.
local ahead -- of seq 0, were there no gap
local function rank_of(visitor, seq)
  local range = changes.joined
  if not range or seq < range[1] or seq > range[2] then
    return redis.call('ZRANK', line, visitor) or 0
  end
  ahead = ahead or redis.call('ZRANK', line, visitor) - seq
  return ahead + seq
end

-- Writes, publishes, and answers {n, total, epoch, phase, places drawn, [state, seq, turn, owned, rank, deadline, claim, drawn
-- now]...} for a list of {visitor, place, drawn now, too many}: with a number for too many, what stands in for the state is 't'
-- and for the rank that number. In place of the last a 2 says that the visitor was sent away.
local function standings(visitors, drawn)
  write_all()
  local n = publish()
  local epoch, phase = unpack(redis.call('HMGET', sale, 'epoch', 'phase'))
  local reply, granted, at = { n, redis.call('ZCARD', line), epoch, phase, drawn }, {}, {}
  for _, one in ipairs(visitors) do
    local visitor, place, fresh, too_many = one[1], one[2], one[3], one[4]
    if not place then
      reply[#reply + 1] = { too_many and 't' or '', 0, 0, 0, too_many or 0, 0, 0, fresh == 2 and 2 or 0 }
    else
      local rank = place.state == 'w' and rank_of(visitor, place.seq) or 0
      reply[#reply + 1] = { place.state, place.seq, place.turn, place.owned, rank, 0, 0, fresh }
      if place.state == 'g' then
        granted[#granted + 1], at[#at + 1] = visitor, #reply
      end
    end
  end
  local deadlines, due = ask('ZMSCORE', grants, granted), ask('ZMSCORE', claims, granted)
  for i, row in ipairs(at) do
    reply[row][6], reply[row][7] = math.floor(deadlines[i] or 0), math.floor(due[i] or 0)
  end
  return reply
end
