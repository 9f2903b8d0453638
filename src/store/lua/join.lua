-- Brings visitors into the line, or back to their places, in the order given.
-- ARGV: instance, then for each: visitor, connection ('' for a poll or a plain call), good until (ms from now, for
-- polls), mode ('join', 'again' after a booking, 'look' and 'recheck' never draw), owned (seats booked so far), token's seq
-- ('' without a token).
-- Answers: {n, total, epoch, phase, places drawn, [state, seq, turn, owned, rank, deadline, claim, drawn now]...}.
local instance = ARGV[1]
local closed = redis.call('HGET', sale, 'command') == 'closed'
if not redis.call('HGET', sale, 'epoch') then
  return redis.error_reply('MISSING the sale is not installed')
end

renew_lease(instance)

local function appear(visitor, connection, poll_ms)
  local before = redis.call('HGET', presence, visitor)
  if connection ~= '' then
    redis.call('HSET', presence, visitor, 'i:' .. instance .. ':' .. connection)
    if before and before:sub(1, 1) == 'i' and not before:find('i:' .. instance .. ':', 1, true) then
      note('moved', { visitor, instance, connection })
    end
  elseif not before or before:sub(1, 1) ~= 'i' or absent_ms(visitor) > 0 then
    redis.call('HSET', presence, visitor, 'p:' .. string.format('%.0f', now + tonumber(poll_ms)))
  end
end

local drawn = 0
local function draw(visitor, owned)
  drawn = drawn + 1
  local seq = redis.call('HINCRBY', sale, 'seq', 1)
  local range = changes.joined
  if range and range[2] ~= seq - 1 then
    note('restored', seq) -- a restored place in this batch made a gap: told one by one
  else
    changes.joined = { range and range[1] or seq, seq }
  end
  redis.call('ZADD', line, seq, visitor)
  return { state = 'w', seq = seq, turn = 0, owned = owned }
end

-- A token without a record: Redis lost the line, or the place's end. The token's word counts.
local function restore(visitor, seq)
  redis.call('ZADD', line, seq, visitor)
  if seq > number('seq') then
    redis.call('HSET', sale, 'seq', seq)
  end
  note('restored', seq)
  return { state = 'w', seq = seq, turn = 0, owned = 0 }
end

local function come_back(visitor, place)
  redis.call('ZREM', away, visitor)
  redis.call('ZADD', returned, place.seq, visitor)
  note('returned', { visitor, place.seq })
  place.state = 'r'
  return place
end

local answers = {}
for i = 2, #ARGV, 6 do
  local visitor, connection, poll_ms, mode, owned, token_seq = unpack(ARGV, i, i + 5)
  local place = place_of(visitor)
  local before, fresh = place and place.state, 0
  if not closed and mode ~= 'look' then
    if not place and token_seq ~= '' then
      place = restore(visitor, tonumber(token_seq))
    elseif mode ~= 'recheck' and (not place or place.state == 'x' or (place.state == 'b' and mode == 'again')) then
      -- What was booked before still counts when a later place came to nothing.
      local before_owned = place and place.state == 'x' and place.owned or 0
      place = draw(visitor, math.max(tonumber(owned), before_owned))
      fresh = 1
    elseif place.state == 'a' then
      place = come_back(visitor, place)
    end
  elseif not closed and place and place.state == 'a' and place.turn == 0 then
    place = come_back(visitor, place) -- long absent, and seen again
  end
  if place and place.state ~= before then
    put_place(visitor, place)
  end
  if place and (mode ~= 'look' or place.state ~= 'x') then
    appear(visitor, connection, poll_ms)
  end
  answers[#answers + 1] = { visitor, place, fresh }
end

local n = publish()
local reply = { n, redis.call('ZCARD', line), redis.call('HGET', sale, 'epoch'), redis.call('HGET', sale, 'phase'),
  drawn }
for _, answer in ipairs(answers) do
  local visitor, place = answer[1], answer[2]
  if not place then
    reply[#reply + 1] = { '', 0, 0, 0, 0, 0, 0, 0 }
  else
    local rank = place.state == 'w' and redis.call('ZRANK', line, visitor) or 0
    local deadline = redis.call('ZSCORE', grants, visitor) or 0
    local claim = redis.call('ZSCORE', claims, visitor) or 0
    reply[#reply + 1] =
      { place.state, place.seq, place.turn, place.owned, rank, math.floor(deadline), math.floor(claim),
        answer[3] }
  end
end
return reply
