-- Brings visitors into the line, or back to their places, in the order given.
-- ARGV: instance, then for each: visitor, connection ('' for a plain call), good until (ms from now, for plain
-- calls), mode ('join', 'again' after a booking, 'recheck' never draws), owned (seats booked so far), token's seq
-- ('' without a token), the network that a stranger comes from ('' for who is none), places that it may draw.
-- Answers as standing.lua says. Who would draw a place while the journal is full gets none, who is banned is told so, and no
-- stranger draws of whose network as many were drawn as may be: he hears in how many ms the counts begin anew.
local STRANGERS_MS = 600000
local drawn_by = {} -- a network's places so far; what of it is new is written at the end
local function may_draw(network, max)
  if network == '' then
    return true
  end
  if not drawn_by[network] then
    drawn_by[network] = tonumber(redis.call('HGET', strangers, network) or 0)
  end
  if drawn_by[network] >= tonumber(max) then
    return false
  end
  drawn_by[network] = drawn_by[network] + 1
  return true
end
local function write_strangers()
  local counts = {}
  for network, count in pairs(drawn_by) do
    write(counts, network, count)
  end
  many('HSET', strangers, counts)
  -- All counts end together, ten minutes after the first: so they need no other care, and nobody's address is kept longer.
  if #counts > 0 and redis.call('PTTL', strangers) < 0 then
    redis.call('PEXPIRE', strangers, STRANGERS_MS)
  end
end

local drawn, full, last_seq = 0, journal_is_full(), number('seq')
local first_seq = last_seq
local function draw(visitor, owned, before)
  drawn, last_seq = drawn + 1, last_seq + 1
  local seq, range = last_seq, changes.joined
  if range and range[2] ~= seq - 1 then
    note('restored', seq) -- a restored place in this batch made a gap: told one by one
  else
    changes.joined = { range and range[1] or seq, seq }
  end
  note('drawn', { visitor, seq, owned, before })
  write(written.line, string.format('%.0f', seq), visitor)
  return { state = 'w', seq = seq, turn = 0, owned = owned }
end

-- A token without a record: Redis lost the line, or the place's end. The token's word counts.
local function restore(visitor, seq)
  write(written.line, string.format('%.0f', seq), visitor)
  last_seq = math.max(last_seq, seq)
  note('restored', seq)
  note('found', { visitor, seq })
  return { state = 'w', seq = seq, turn = 0, owned = 0 }
end

local visitors = {}
for i = 2, #ARGV, 8 do
  visitors[#visitors + 1] = ARGV[i]
end
know(visitors)
local is_banned = redis.call('EXISTS', banned) == 1 and ask('SMISMEMBER', banned, visitors) or {}
-- A place whose visitor is forgotten has ended, though nothing knows him.
local function is_forgotten(seq)
  return redis.call('HEXISTS', places, 'forgotten:' .. seq) == 1
end

local answers = {}
for at, visitor in ipairs(visitors) do
  local connection, poll_ms, mode, owned, token_seq, network, max = unpack(ARGV, 8 * at - 5, 8 * at + 1)
  local sent_away = is_banned[at] == 1
  local place = not sent_away and place_in(records[visitor]) or nil
  local before, fresh, too_many = place and place.state, sent_away and 2 or 0, nil
  if not closed and not sent_away then
    if not place and token_seq ~= '' and not is_forgotten(token_seq) then
      place = restore(visitor, tonumber(token_seq))
    elseif mode ~= 'recheck' and (not place or place.state == 'x' or (place.state == 'b' and mode == 'again')) then
      -- What was booked before still counts when a later place came to nothing.
      local before_owned = place and place.state == 'x' and place.owned or 0
      if full then
        place = nil
      elseif may_draw(network, max) then
        place = draw(visitor, math.max(tonumber(owned), before_owned), place and place.seq or 0)
      else
        place, too_many = nil, math.max(redis.call('PTTL', strangers), 0)
      end
      fresh = 1
    elseif place and place.state == 'a' then
      place = come_back(visitor, place)
    end
  end
  if place and place.state ~= before then
    put(visitor, place)
  end
  if place and connection ~= '' then
    connected(visitor, connection)
  elseif place then
    called(visitor, poll_ms)
  end
  answers[#answers + 1] = { visitor, place, fresh, too_many }
end
write_strangers()
if last_seq > first_seq then
  redis.call('HSET', sale, 'seq', string.format('%.0f', last_seq))
end
return standings(answers, drawn)
