-- How visitors without a socket stand. Draws and restores no place, but counts as presence: who was long absent when his
-- turn came is back. ARGV: instance, then for each: visitor, good until (ms from now). Answers as standing.lua says; who was
-- removed, and has not joined since, is told so.
local visitors = {}
for i = 2, #ARGV, 2 do
  visitors[#visitors + 1] = ARGV[i]
end
know(visitors)
local is_banned = redis.call('EXISTS', banned) == 1 and ask('SMISMEMBER', banned, visitors) or {}

local answers = {}
for i, visitor in ipairs(visitors) do
  local place = place_in(records[visitor])
  local removed = is_banned[i] == 1 or place and place.state == 'x' and place.rest == ':removed'
  place = not removed and place or nil
  if place and place.state ~= 'x' then
    if not closed and place.state == 'a' and place.turn == 0 then
      place = come_back(visitor, place)
      put(visitor, place)
    end
    called(visitor, ARGV[2 * i + 1])
  end
  answers[#answers + 1] = { visitor, place, removed and 2 or 0 }
end
return standings(answers, 0)
