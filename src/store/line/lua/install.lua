-- Gives a sale its life in Redis, unless it has one.
-- ARGV: epoch, first seq, seats, shift in all, booked (bitmap), number of holds, holds..., then for each visitor who booked:
-- visitor, seats owned (his place has ended: its seq no longer matters). `format` numbers how all this is written: a
-- program that knows only lower ones must not touch it.
-- Answers 1 if it was installed, 0 if it was there.
if redis.call('HGET', sale, 'epoch') then
  return 0
end
redis.call('DEL', line, returned, away, places, grants, claims, fences, presence, booked, held, events)
redis.call('HSET', sale, 'format', 1, 'epoch', ARGV[1], 'seq', ARGV[2], 'seats', ARGV[3], 'n', 0, 'version', 0,
  'command', 'scheduled', 'phase', 'scheduled', 'bucket', 0, 'free', 0, 'shift', ARGV[4])
redis.call('SET', booked, ARGV[5])
local holds = tonumber(ARGV[6])
for i = 7, 6 + holds do
  redis.call('SADD', held, ARGV[i])
end
for i = 7 + holds, #ARGV, 2 do
  redis.call('HSET', places, ARGV[i], 'b:0:0:' .. ARGV[i + 1])
end
return 1
