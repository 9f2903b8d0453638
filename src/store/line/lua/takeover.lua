-- This process of Redis is about to be believed. Whoever notices it first records it; who knew the line from another process
-- must find here all that it was told there.
-- ARGV: run id, the last entry that the caller was told of (epoch, n), the last that is journaled (epoch, n), how many seqs
-- are left out: those that the process before may have drawn without this one knowing are not drawn again.
-- Answers {'missing' | 'lost' | 'whole', epoch}.
if not redis.call('HGET', sale, 'epoch') then
  return { 'missing', 0 }
end
local epoch = number('epoch')
local is_recorded = redis.call('HGET', sale, 'run_id') == ARGV[1]
-- Where the line stood when this process took over: what came after is its own.
local at = is_recorded and number('taken_n') or number('n')
local function is_beyond(known_epoch, known_n)
  return known_epoch > epoch or known_epoch == epoch and known_n > at
end
if is_beyond(tonumber(ARGV[2]), tonumber(ARGV[3])) then
  return { 'lost', epoch }
end
if not is_recorded then
  if is_beyond(tonumber(ARGV[4]), tonumber(ARGV[5])) then
    return { 'lost', epoch }
  end
  if redis.call('HGET', sale, 'run_id') then
    redis.call('HINCRBY', sale, 'seq', ARGV[6])
  end
  redis.call('HSET', sale, 'run_id', ARGV[1], 'taken_n', at)
end
return { 'whole', epoch }
