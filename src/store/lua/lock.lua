-- Fences the grants of a batch of redeems against lapse while PostgreSQL decides. A redeem is also a claim.
-- ARGV: how long (ms), then for each: visitor, seq, turn, age (ms since the redeem reached the server).
-- Answers for each: 'ok', 'busy' (another instance is at it), or 'dead' (no such grant lives), then the seats owned.
local lock_ms = tonumber(ARGV[1])
local reply = {}
for i = 2, #ARGV, 4 do
  local visitor, seq, turn, age = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local place = place_of(visitor)
  local verdict = 'dead'
  if place and place.state == 'g' and place.seq == seq and place.turn == turn then
    local lock = tonumber(redis.call('ZSCORE', locks, visitor) or 0)
    local deadline = tonumber(redis.call('ZSCORE', grants, visitor) or 0)
    local claim = tonumber(redis.call('ZSCORE', claims, visitor) or deadline)
    if lock > now then
      verdict = 'busy'
    elseif math.min(deadline, claim) > now - age then
      verdict = 'ok'
      redis.call('ZADD', locks, now + lock_ms, visitor)
      redis.call('ZREM', claims, visitor)
    end
  end
  reply[#reply + 1] = { verdict, place and place.owned or 0 }
end
return reply
