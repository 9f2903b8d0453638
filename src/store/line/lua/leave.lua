-- Visitors give their places up. ARGV: visitors.
-- Answers for each what came of it, seq and turn: 1 if it ended, 0 if there was none, 2 while it is being redeemed, 3 where the fence of a
-- try that nobody settled has run out, for only PostgreSQL knows whether that has booked, or will.
local records, standing = ask('HMGET', places, ARGV), ask('ZMSCORE', fences, ARGV)
local queues = { w = { line, {} }, r = { returned, {} }, a = { away, {} } }
local answers, granted, put, ended = {}, {}, {}, {}
for i, visitor in ipairs(ARGV) do
  local place = not ended[visitor] and place_in(records[i])
  local answer = 0
  if place and place.state == 'g' and standing[i] then
    answer = tonumber(standing[i]) > now and 2 or 3
  elseif place and place.state ~= 'x' and place.state ~= 'b' then
    answer, ended[visitor] = 1, true
    local from = queues[place.state] and queues[place.state][2] or granted
    from[#from + 1] = visitor
    place.state = 'x'
    put[#put + 1] = visitor
    put[#put + 1] = record_of(place)
    note('left', { visitor, place.seq })
  end
  answers[i] = { answer, place and place.seq or 0, place and place.turn or 0 }
end
drop_grants(granted)
if #granted > 0 then
  redis.call('HINCRBY', sale, 'lapsed_total', #granted)
end
for _, queue in pairs(queues) do
  many('ZREM', queue[1], queue[2])
end
many('HSET', places, put)
publish()
return answers
