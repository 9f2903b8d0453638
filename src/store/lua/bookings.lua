-- Tells the line what PostgreSQL committed: bookings made, confirmed, released, and redeems that came to nothing.
-- ARGV: number of bookings, then for each: visitor, seq, turn ('' and '' where no grant was spent by this),
-- booking, status, seats (comma-separated); then for each failed redeem: visitor, seq, turn.
-- Safe to repeat. Answers n.
local count = tonumber(ARGV[1])
local after = 2 + 6 * count
local visitors = {}
for i = 2, after - 1, 6 do
  visitors[#visitors + 1] = ARGV[i]
end
for i = after, #ARGV, 3 do
  visitors[#visitors + 1] = ARGV[i]
end
local records = ask('HMGET', places, visitors)

-- Whether this is still the place whose grant was to be spent.
local function place_with(i, seq, turn)
  local place = parse_place(records[i])
  return place and place.seq == tonumber(seq) and place.turn == tonumber(turn) and place or nil
end

local bits, hold, unhold, spent, spent_places = {}, {}, {}, {}, {}
for i = 1, count do
  local visitor, seq, turn, booking, status, list = unpack(ARGV, 6 * i - 4, 6 * i + 1)
  local seats = {}
  for seat in list:gmatch('%d+') do
    seats[#seats + 1] = tonumber(seat)
    for _, word in ipairs({ 'SET', 'u1', seat, status == 'released' and 0 or 1 }) do
      bits[#bits + 1] = word
    end
  end
  if booking ~= '' and status == 'held' then
    hold[#hold + 1] = booking
  elseif booking ~= '' then
    unhold[#unhold + 1] = booking
  end
  local place = seq ~= '' and place_with(i, seq, turn)
  if place and place.state == 'g' then
    place.state = 'b'
    spent[#spent + 1] = visitor
    spent_places[#spent_places + 1] = visitor
    spent_places[#spent_places + 1] = place_record(place)
  end
  note(status == 'released' and 'freed' or 'booked',
    { visitor = visitor, seq = tonumber(seq), turn = tonumber(turn), booking = booking, status = status, seats = seats })
end
many('BITFIELD', taken, bits)
many('SADD', held, hold)
many('SREM', held, unhold)
for _, key in ipairs({ grants, claims, locks }) do
  many('ZREM', key, spent)
end
many('HSET', places, spent_places)

local unlocked = {}
for i = after, #ARGV, 3 do
  if place_with(count + 1 + (i - after) / 3, ARGV[i + 1], ARGV[i + 2]) then
    unlocked[#unlocked + 1] = ARGV[i]
  end
end
many('ZREM', locks, unlocked)
if count > 0 then
  refresh_phase(true)
end
return publish()
