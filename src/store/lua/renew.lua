-- Keeps the fence of grants that a writer still has no answer about. ARGV: how long (ms), then for each: visitor, seq,
-- turn. A fence that has run out stays down.
for i = 2, #ARGV, 3 do
  local place = place_of(ARGV[i])
  local mine = place and place.state == 'g' and place.seq == tonumber(ARGV[i + 1]) and place.turn == tonumber(ARGV[i + 2])
  if mine and tonumber(redis.call('ZSCORE', locks, ARGV[i]) or 0) > now then
    redis.call('ZADD', locks, now + tonumber(ARGV[1]), ARGV[i])
  end
end
return 0
