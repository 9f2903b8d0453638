-- The journal has all entries up to here. ARGV: epoch, bytes written up to here, the first n that followers may still want.
if redis.call('HGET', sale, 'epoch') ~= ARGV[1] then
  return
end
if tonumber(ARGV[2]) > number('journaled') then
  redis.call('HSET', sale, 'journaled', ARGV[2])
end
redis.call('XTRIM', events, 'MINID', '~', ARGV[1] .. '-' .. ARGV[3])
