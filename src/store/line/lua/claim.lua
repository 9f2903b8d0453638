-- Visitors used their turns for the first time. ARGV: visitors. Answers for each 1 if he holds a live grant.
local records, unused = ask('HMGET', places, ARGV), ask('ZMSCORE', claims, ARGV)
local answers, claimed, is_noted = {}, {}, {}
for i, visitor in ipairs(ARGV) do
  local place = place_in(records[i])
  local lives = place and place.state == 'g'
  answers[i] = lives and 1 or 0
  if lives and unused[i] and not is_noted[visitor] then
    is_noted[visitor] = true
    claimed[#claimed + 1] = visitor
    note('claimed', { visitor, place.seq })
  end
end
many('ZREM', claims, claimed)
publish()
return answers
