-- The operator ends a visitor's place and grant, and sends his sockets away. ARGV: visitor, 'forget' if the line must not know
-- him any more: his records go on under a name that is nobody's, so that what has ended stays ended; then the places that he drew
-- before, of which the line has no record, and he may have the tokens.
-- Answers what came of it, seq and turn: 1 if a place ended, 0 if none lived, 2 while it is being redeemed, 3 where the fence of a try that
-- nobody settled has run out (leave.lua).
local visitor, forget = ARGV[1], ARGV[2] == 'forget'
local closed = redis.call('HGET', sale, 'command') == 'closed'
local place = place_in(redis.call('HGET', places, visitor))
local lives = place and place.state ~= 'x' and place.state ~= 'b'
local fence = lives and redis.call('ZSCORE', fences, visitor)
if fence then
  return { tonumber(fence) > now and 2 or 3, place.seq, place.turn }
end
-- Who has joined has both, and whoever has a socket has joined.
local is_known = place or redis.call('HEXISTS', presence, visitor) == 1
local nobody = place and 'forgotten:' .. string.format('%.0f', place.seq)
if lives and not closed then
  drop_grants({ visitor })
  if place.state == 'g' then
    redis.call('HINCRBY', sale, 'lapsed_total', 1)
  end
  for _, queue in ipairs({ line, returned, away }) do
    redis.call('ZREM', queue, visitor)
  end
  -- Told to whoever asks without a socket; gone with the next place.
  place.state, place.rest = 'x', ':removed'
  redis.call('HSET', places, visitor, record_of(place))
  note('left', { visitor, place.seq })
end
if not closed and is_known then
  note('removed', { visitor, lives and place.seq or 0 })
end
redis.call('HDEL', presence, visitor)
if forget then
  redis.call('SREM', banned, visitor)
  for i = 3, #ARGV do
    redis.call('HSETNX', places, 'forgotten:' .. ARGV[i], 'x:' .. ARGV[i] .. ':0:0')
  end
  if place then
    redis.call('HSET', places, nobody, record_of(place))
    redis.call('HDEL', places, visitor)
  end
  -- In a closed sale nothing ends any more: who waited keeps waiting, as nobody.
  for _, queue in ipairs({ line, returned, away, grants, claims }) do
    local score = redis.call('ZSCORE', queue, visitor)
    if score then
      redis.call('ZADD', queue, score, nobody)
      redis.call('ZREM', queue, visitor)
    end
  end
end
publish()
return { lives and not closed and 1 or 0, 0, 0 }
