-- Begins a life of a sale in Redis: its first, or the one after a loss. What is there of a lost one stays, to be made whole from
-- the journal; what a deleted sale of the same id left goes.
-- ARGV: epoch, the deleted sale's last epoch, the epoch that was found lost (0 for none), run id, first seq, seats, shift in
-- all, command (phase), booked (bitmap), number of holds, holds..., then for each visitor who booked: visitor, seats owned
-- (his place has ended: its seq no longer matters); in a life that is restored they come by restore.lua, which takes few at a time. `format` numbers how all this is written: a program that knows only lower
-- ones must not touch it.
-- Answers 1 if it began, 0 if it has begun already.
local before, first_epoch = number('epoch'), tonumber(ARGV[2])
if before > first_epoch and before ~= tonumber(ARGV[3]) then
  return 0
end
if before <= first_epoch then
  redis.call('UNLINK', sale, line, returned, away, places, grants, claims, fences, presence, booked, held, events,
    strangers, banned)
end
redis.call('HSET', sale, 'format', 1, 'epoch', ARGV[1], 'run_id', ARGV[4], 'taken_n', 0, 'seq', ARGV[5], 'seats', ARGV[6],
  'n', 0, 'version', 0, 'command', ARGV[8], 'phase', ARGV[8], 'bucket', 0, 'bucket_at', now, 'free', 0, 'shift', ARGV[7], 'written', 0,
  'journaled', 0, 'bans_version', 0)
-- A journal that was begun in another life is read before anyone is answered.
if tonumber(ARGV[1]) > first_epoch + 1 then
  redis.call('HSET', sale, 'restoring', 1)
end
redis.call('HDEL', sale, 'shifting', 'begun_by', 'unshifted_grants', 'unshifted_claims')
-- Fences stay: a redeem that was under way may commit still.
redis.call('UNLINK', held)
redis.call('SET', booked, ARGV[9])
local holds = tonumber(ARGV[10])
for i = 11, 10 + holds do
  redis.call('SADD', held, ARGV[i])
end
for i = 11 + holds, #ARGV, 2 do
  redis.call('HSETNX', places, ARGV[i], 'b:0:0:' .. ARGV[i + 1])
end
changes.phase = ARGV[8]
changes.installed = { seats = tonumber(ARGV[6]), booked = members(ARGV[9]), held = holds }
publish()
return 1
