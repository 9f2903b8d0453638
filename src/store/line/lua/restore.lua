-- Brings places back as the journal has them; what is there already is not deleted. What has ended stays ended, whoever says so.
-- ARGV: epoch, the moment of the loss by the clock of then (ms), then for each: visitor, state, seq, turn, owned, deadline,
-- claim (0 without). Deadlines get the time that was left. A turn may have a try that commits still, of which nothing is known here: so
-- each has the fence of one that nobody settled.
-- Answers 0 if the line is not being restored in this epoch, else 1.
if redis.call('HGET', sale, 'epoch') ~= ARGV[1] or not redis.call('HGET', sale, 'restoring') then
  return 0
end
local shift = now - tonumber(ARGV[2])
local visitors = {}
for i = 3, #ARGV, 7 do
  visitors[#visitors + 1] = ARGV[i]
end
local records, standing = ask('HMGET', places, visitors), ask('ZMSCORE', fences, visitors)

local function has_ended(state)
  return state == 'x' or state == 'b'
end

-- One place lives for a visitor; of ended ones the last is remembered.
local function stays(record, state, seq)
  local there_state, there_seq = record:match('^(%a):(%d+)')
  if tonumber(there_seq) == seq then
    return has_ended(there_state) and not (there_state == 'x' and state == 'b')
  end
  if has_ended(there_state) ~= has_ended(state) then
    return has_ended(state)
  end
  return tonumber(there_seq) > seq
end

local queues = { w = { line }, r = { returned }, a = { away } }
local put, due, unused, fenced = {}, {}, {}, {}
for i, visitor in ipairs(visitors) do
  local at = 7 * i - 4
  local state, seq = ARGV[at + 1], tonumber(ARGV[at + 2])
  local record = records[i]
  if not record or not stays(record, state, seq) then
    if record then
      for _, queue in pairs(queues) do
        redis.call('ZREM', queue[1], visitor)
      end
      drop_grants({ visitor })
    end
    if state == 'g' then
      fenced[#fenced + 1] = standing[i] or '1'
      fenced[#fenced + 1] = visitor
    end
    put[#put + 1] = visitor
    put[#put + 1] = string.format('%s:%.0f:%s:%s', state, seq, ARGV[at + 3], ARGV[at + 4])
    local queue = queues[state]
    if queue then
      queue[#queue + 1] = ARGV[at + 2]
      queue[#queue + 1] = visitor
    elseif state == 'g' then
      due[#due + 1] = string.format('%.0f', tonumber(ARGV[at + 5]) + shift)
      due[#due + 1] = visitor
      if ARGV[at + 6] ~= '0' then
        unused[#unused + 1] = string.format('%.0f', tonumber(ARGV[at + 6]) + shift)
        unused[#unused + 1] = visitor
      end
    end
  end
end
many('HSET', places, put)
for _, queue in pairs(queues) do
  many('ZADD', table.remove(queue, 1), queue)
end
many('ZADD', grants, due)
many('ZADD', claims, unused)
many('ZADD', fences, fenced)
return 1
