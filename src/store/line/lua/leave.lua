-- The visitor gives the place up. ARGV: visitor.
-- Answers 1 if it ended, 0 if there was none, 2 while it is being redeemed.
local visitor = ARGV[1]
local place = place_of(visitor)
if not place or place.state == 'x' or place.state == 'b' then
  return 0
end
if place.state == 'g' then
  if tonumber(redis.call('ZSCORE', fences, visitor) or 0) > now then
    return 2
  end
  drop_grant(visitor)
end
redis.call('ZREM', line, visitor)
redis.call('ZREM', returned, visitor)
redis.call('ZREM', away, visitor)
place.state = 'x'
put_place(visitor, place)
note('left', { visitor, place.seq })
publish()
return 1
