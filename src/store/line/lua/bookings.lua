-- Tells the line what PostgreSQL committed: bookings made, confirmed, released, and redeems that came to nothing.
-- ARGV: number of bookings, then for each: visitor, seq, turn ('' where no grant was spent by this, or only the seats or
-- the hold are put right), booking ('' where only the seats are), status, seats (comma-separated); then for each failed redeem: visitor, until when its fence
-- stands, 0 if it has run out, 1 if its grant can never book any more. Another try's fence is let alone; and where a fence replaced one
-- of a try that nobody settled, that one is there again, run out.
-- Safe to repeat. Answers n.
-- What is not there is not told.
local function given(text)
  return text ~= '' and text or nil
end

local count = tonumber(ARGV[1])
local after = 2 + 6 * count
local visitors = {}
for i = 2, after - 1, 6 do
  visitors[#visitors + 1] = ARGV[i]
end
local records = ask('HMGET', places, visitors)

local bits, hold, unhold, spent, spent_places = {}, {}, {}, {}, {}
for i = 1, count do
  local visitor, seq, turn, booking, status, list = unpack(ARGV, 6 * i - 4, 6 * i + 1)
  local seats = {}
  for seat in list:gmatch('%d+') do
    seats[#seats + 1] = tonumber(seat)
    local n = #bits
    bits[n + 1], bits[n + 2], bits[n + 3], bits[n + 4] = 'SET', 'u1', seat, status == 'released' and '0' or '1'
  end
  if booking ~= '' and status == 'held' then
    hold[#hold + 1] = booking
  elseif booking ~= '' then
    unhold[#unhold + 1] = booking
  end
  if owned_of_granted(records[i], seq, turn) then
    spent[#spent + 1] = visitor
    spent_places[#spent_places + 1] = visitor
    spent_places[#spent_places + 1] = 'b' .. records[i]:sub(2)
  end
  note(status == 'released' and 'freed' or 'booked',
    { visitor = given(visitor), seq = tonumber(seq), turn = tonumber(turn), booking = given(booking), status = status,
      seats = seats })
end
many('BITFIELD', booked, bits)
many('SADD', held, hold)
many('SREM', held, unhold)
for _, key in ipairs({ grants, claims, fences }) do
  many('ZREM', key, spent)
end
many('HSET', places, spent_places)

local fenced, fallen, unsettled = {}, {}, {}
for i = after, #ARGV, 2 do
  fenced[#fenced + 1] = ARGV[i]
end
for i, score in ipairs(ask('ZMSCORE', fences, fenced)) do
  local mine, stands = tonumber(ARGV[after + 2 * i - 1]), tonumber(score or 0)
  if mine == 1 and stands <= now then
    fallen[#fallen + 1] = fenced[i]
  elseif stands == mine or mine == 0 and stands <= now then
    if stands % 2 == 1 then
      unsettled[#unsettled + 1], unsettled[#unsettled + 2] = 1, fenced[i]
    else
      fallen[#fallen + 1] = fenced[i]
    end
  end
end
many('ZREM', fences, fallen)
many('ZADD', fences, unsettled)
if count > 0 then
  refresh_phase(true)
end
return publish()
