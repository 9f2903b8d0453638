-- How visitors without a socket stand. Draws and restores no place, but counts as presence: who was long absent when his
-- turn came is back. ARGV: instance, then for each: visitor, good until (ms from now). Answers as standing.lua says; who was
-- removed, and has not joined since, is told so.
local any_banned = redis.call('EXISTS', banned) == 1
local function is_removed(visitor, place)
  return any_banned and redis.call('SISMEMBER', banned, visitor) == 1
    or place and place.state == 'x' and place.rest == ':removed'
end

local answers = {}
for i = 2, #ARGV, 2 do
  local visitor, poll_ms = ARGV[i], ARGV[i + 1]
  local place = place_of(visitor)
  local removed = is_removed(visitor, place)
  place = not removed and place or nil
  if place and place.state ~= 'x' then
    if not closed and place.state == 'a' and place.turn == 0 then
      place = come_back(visitor, place)
      put_place(visitor, place)
    end
    called(visitor, poll_ms)
  end
  answers[#answers + 1] = { visitor, place, removed and 2 or 0 }
end
return standings(answers, 0)
