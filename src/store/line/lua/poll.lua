-- How visitors without a socket stand. Draws and restores no place, but counts as presence: who was long absent when his
-- turn came is back. ARGV: instance, then for each: visitor, good until (ms from now). Answers as standing.lua says.
local answers = {}
for i = 2, #ARGV, 2 do
  local visitor, poll_ms = ARGV[i], ARGV[i + 1]
  local place = place_of(visitor)
  if place and place.state ~= 'x' then
    if not closed and place.state == 'a' and place.turn == 0 then
      place = come_back(visitor, place)
      put_place(visitor, place)
    end
    called(visitor, poll_ms)
  end
  answers[#answers + 1] = { visitor, place, 0 }
end
return standings(answers, 0)
