-- Puts the operator's settings in force, if they are newer than those that are.
-- ARGV: version, command (phase), rate, max_active, grant_ttl_ms, claim_ms, away_ms, blocked (bitmap), then who is banned.
-- Answers 1 if they were applied, 0 if not newer, -1 if the sale is not installed.
if not redis.call('HGET', sale, 'epoch') then
  return -1
end
-- By a count of their own: a program that knows no bans may have put the version in force.
if tonumber(ARGV[1]) > number('bans_version') then
  local bans = {}
  for i = 9, #ARGV do
    bans[#bans + 1] = ARGV[i]
  end
  redis.call('DEL', banned)
  many('SADD', banned, bans)
  redis.call('HSET', sale, 'bans_version', ARGV[1])
end
if tonumber(ARGV[1]) <= number('version') then
  return 0
end
if number('rate') ~= tonumber(ARGV[3]) then
  redis.call('HSET', sale, 'bucket_at', now) -- each rate gives out its own time
end
redis.call('HSET', sale, 'version', ARGV[1], 'command', ARGV[2], 'rate', ARGV[3], 'max_active', ARGV[4],
  'grant_ttl_ms', ARGV[5], 'claim_ms', ARGV[6], 'away_ms', ARGV[7])
redis.call('SET', blocked, ARGV[8])
changes.settings = tonumber(ARGV[1])
changes.in_force = { rate = tonumber(ARGV[3]), max_active = tonumber(ARGV[4]), grant_ttl_ms = tonumber(ARGV[5]),
  claim_ms = tonumber(ARGV[6]), away_ms = tonumber(ARGV[7]), blocked = members(ARGV[8]) }
refresh_phase(true)
publish()
return 1
