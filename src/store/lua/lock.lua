-- Fences the grants of a batch of redeems against lapse while PostgreSQL decides. A redeem is also a claim.
-- ARGV: how long (ms), then for each: visitor, seq, turn, age (ms since the redeem reached the server).
-- Answers for each: 'ok', 'busy' (another try is at it), or 'dead' (no such grant lives), then the seats owned.
local lock_ms = tonumber(ARGV[1])
local visitors = {}
for i = 2, #ARGV, 4 do
  visitors[#visitors + 1] = ARGV[i]
end
local records = ask('HMGET', places, visitors)
local fences, deadlines = ask('ZMSCORE', locks, visitors), ask('ZMSCORE', grants, visitors)
local claimed = ask('ZMSCORE', claims, visitors)
local reply, fenced, members, mine = {}, {}, {}, {}
for i, visitor in ipairs(visitors) do
  local at = 4 * i - 2
  local seq, turn, age = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local place = parse_place(records[i])
  local verdict = 'dead'
  if place and place.state == 'g' and place.seq == seq and place.turn == turn then
    local deadline = tonumber(deadlines[i] or 0)
    local claim = tonumber(claimed[i] or deadline)
    if mine[visitor] or tonumber(fences[i] or 0) > now then
      verdict = 'busy'
    elseif math.min(deadline, claim) > now - age then
      verdict = 'ok'
      mine[visitor] = true
      fenced[#fenced + 1] = now + lock_ms
      fenced[#fenced + 1] = visitor
      members[#members + 1] = visitor
    end
  end
  reply[i] = { verdict, place and place.owned or 0 }
end
many('ZADD', locks, fenced)
many('ZREM', claims, members)
return reply
