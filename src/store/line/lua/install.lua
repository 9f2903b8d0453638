-- Gives a sale its life in Redis, unless it has one. What a deleted sale of the same id left is none.
-- ARGV: epoch, the deleted sale's last epoch, first seq, seats, shift in all, booked (bitmap), number of holds, holds...,
-- then for each visitor who booked: visitor, seats owned (his place has ended: its seq no longer matters). `format` numbers
-- how all this is written: a program that knows only lower ones must not touch it.
-- Answers 1 if it was installed, 0 if it was there.
if number('epoch') > tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', sale, line, returned, away, places, grants, claims, fences, presence, booked, held, events)
redis.call('HSET', sale, 'format', 1, 'epoch', ARGV[1], 'seq', ARGV[3], 'seats', ARGV[4], 'n', 0, 'version', 0,
  'command', 'scheduled', 'phase', 'scheduled', 'bucket', 0, 'free', 0, 'shift', ARGV[5])
redis.call('SET', booked, ARGV[6])
local holds = tonumber(ARGV[7])
for i = 8, 7 + holds do
  redis.call('SADD', held, ARGV[i])
end
for i = 8 + holds, #ARGV, 2 do
  redis.call('HSET', places, ARGV[i], 'b:0:0:' .. ARGV[i + 1])
end
changes.installed = { seats = tonumber(ARGV[4]), booked = members(ARGV[6]), held = holds }
publish()
return 1
