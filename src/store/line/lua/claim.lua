-- The visitor used his turn for the first time. ARGV: visitor. Answers 1 if he holds a live grant.
local place = place_of(ARGV[1])
if not place or place.state ~= 'g' then
  return 0
end
if redis.call('ZREM', claims, ARGV[1]) == 1 then
  note('claimed', { ARGV[1], place.seq })
  publish()
end
return 1
