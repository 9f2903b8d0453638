-- Stands in front of the scripts that answer visitors how they stand. ARGV[1] is the instance.
local instance = ARGV[1]
local closed = redis.call('HGET', sale, 'command') == 'closed'
renew_lease(instance)

-- Seen over a socket.
local function connected(visitor, connection)
  local before = redis.call('HGET', presence, visitor)
  redis.call('HSET', presence, visitor, 'i:' .. instance .. ':' .. connection)
  if before and before:sub(1, 1) == 'i' and not before:find('i:' .. instance .. ':', 1, true) then
    note('moved', { visitor, instance, connection })
  end
end

-- Seen over a call without a socket, which is good for so long; a socket that lives is better.
local function called(visitor, poll_ms)
  local before = redis.call('HGET', presence, visitor)
  if not before or before:sub(1, 1) ~= 'i' or absent_ms(visitor) > 0 then
    redis.call('HSET', presence, visitor, 'p:' .. string.format('%.0f', now + tonumber(poll_ms)))
  end
end

local function come_back(visitor, place)
  redis.call('ZREM', away, visitor)
  redis.call('ZADD', returned, place.seq, visitor)
  note('returned', { visitor, place.seq })
  place.state = 'r'
  return place
end

-- Publishes, and answers {n, total, epoch, phase, places drawn, [state, seq, turn, owned, rank, deadline, claim, drawn
-- now]...} for a list of {visitor, place, drawn now, too many}: with a number for too many, what stands in for the state is 't'
-- and for the rank that number. In place of the last a 2 says that the visitor was sent away.
local function standings(visitors, drawn)
  local n = publish()
  local reply = { n, redis.call('ZCARD', line), redis.call('HGET', sale, 'epoch'), redis.call('HGET', sale, 'phase'),
    drawn }
  for _, one in ipairs(visitors) do
    local visitor, place, fresh, too_many = one[1], one[2], one[3], one[4]
    if not place then
      reply[#reply + 1] = { too_many and 't' or '', 0, 0, 0, too_many or 0, 0, 0, fresh == 2 and 2 or 0 }
    else
      local rank = place.state == 'w' and redis.call('ZRANK', line, visitor) or 0
      local deadline = redis.call('ZSCORE', grants, visitor) or 0
      local claim = redis.call('ZSCORE', claims, visitor) or 0
      reply[#reply + 1] =
        { place.state, place.seq, place.turn, place.owned, rank, math.floor(deadline), math.floor(claim), fresh }
    end
  end
  return reply
end
