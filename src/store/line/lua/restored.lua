-- The line is whole again. ARGV: epoch, the moment of the loss by the clock of then (ms), places brought back, admitted and lapsed
-- in all, then for each place of which nothing but a booking tells: visitor, seq.
-- Answers 0 if the line is not being restored in this epoch, else 1.
-- Who comes back by his token alone, or by a socket that was cut, has this long before anyone is admitted past him.
local RETURN_MS = 2500

if redis.call('HGET', sale, 'epoch') ~= ARGV[1] or redis.call('HDEL', sale, 'restoring') == 0 then
  return 0
end
local shift = now - tonumber(ARGV[2])
redis.call('HSET', sale, 'admitted_total', ARGV[4], 'lapsed_total', ARGV[5], 'bookable_at', now, 'last_tick', now,
  'outage_end', now, 'admit_after', now + RETURN_MS)
if shift > 0 then
  redis.call('HINCRBY', sale, 'shift', shift)
end
for i = 6, #ARGV, 2 do
  note('restored', tonumber(ARGV[i + 1]))
  note('found', { ARGV[i], tonumber(ARGV[i + 1]) })
end
changes.shifted, changes.merged = shift, tonumber(ARGV[3])
publish()
return 1
