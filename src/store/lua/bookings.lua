-- Tells the line what PostgreSQL committed: bookings made, confirmed, released, and redeems that came to nothing.
-- ARGV: number of bookings, then for each: visitor, seq, turn ('' and '' where no grant was spent by this),
-- booking, status, seats (comma-separated); then for each failed redeem: visitor, seq, turn.
-- Safe to repeat. Answers n.
local count = tonumber(ARGV[1])
local position = 2
for _ = 1, count do
  local visitor, seq, turn, booking, status, list = unpack(ARGV, position, position + 5)
  position = position + 6
  local seats = {}
  for seat in list:gmatch('%d+') do
    seats[#seats + 1] = tonumber(seat)
    redis.call('SETBIT', taken, seat, status == 'released' and 0 or 1)
  end
  if booking ~= '' then
    redis.call(status == 'held' and 'SADD' or 'SREM', held, booking)
  end
  if seq ~= '' then
    local place = place_of(visitor)
    if place and place.state == 'g' and place.seq == tonumber(seq) and place.turn == tonumber(turn) then
      drop_grant(visitor)
      place.state = 'b'
      put_place(visitor, place)
    end
  end
  note(status == 'released' and 'freed' or 'booked',
    { visitor = visitor, seq = tonumber(seq), turn = tonumber(turn), booking = booking, status = status, seats = seats })
end
for i = position, #ARGV, 3 do
  local place = place_of(ARGV[i])
  if place and place.seq == tonumber(ARGV[i + 1]) and place.turn == tonumber(ARGV[i + 2]) then
    redis.call('ZREM', locks, ARGV[i])
  end
end
if count > 0 then
  refresh_phase(true)
end
return publish()
