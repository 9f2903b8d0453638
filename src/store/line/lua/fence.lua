-- Fences the grants of a batch of redeems against lapse while PostgreSQL decides. A redeem is also a claim.
-- ARGV: how long (ms), then for each: visitor, seq, turn, age (ms since the redeem reached the server).
-- Answers for each: 'ok', 'busy' (another try is at it, or may be), or 'dead' (no such grant lives), the seats owned, and until when
-- the fence stands: an odd time if it replaces one of a try that nobody settled, which may commit still.
local visitors = {}
for i = 2, #ARGV, 4 do
  visitors[#visitors + 1] = ARGV[i]
end
local records, standing = ask('HMGET', places, visitors), ask('ZMSCORE', fences, visitors)

-- Whose time is up has lapsed, but for the last moments: mostly there is nobody, and no score needs to be looked at.
local function scores_if_due(key)
  return redis.call('ZCOUNT', key, '-inf', now) > 0 and ask('ZMSCORE', key, visitors) or {}
end
local deadlines, claimed = scores_if_due(grants), scores_if_due(claims)

-- While deadlines are moved some are still too early; nothing lapses before all are moved.
local to_come = math.max(number('shifting'), 0)
local even = now + tonumber(ARGV[1])
even = even - even % 2
local reply, fenced, unclaimed, unclaimed_seqs, mine = {}, {}, {}, {}, {}
for i, visitor in ipairs(visitors) do
  local at = 4 * i - 2
  local owned = owned_of_granted(records[i], ARGV[at + 1], ARGV[at + 2])
  local answer, until_ms = 'dead', '0'
  if owned then
    local arrived = now - tonumber(ARGV[at + 3]) - to_come
    until_ms = string.format('%.0f', even + (standing[i] and 1 or 0))
    if mine[visitor] or tonumber(standing[i] or 0) > now then
      answer = 'busy'
    elseif tonumber(deadlines[i] or now) >= arrived and tonumber(claimed[i] or now) >= arrived then
      answer = 'ok'
      mine[visitor] = true
      fenced[#fenced + 1] = until_ms
      fenced[#fenced + 1] = visitor
      unclaimed[#unclaimed + 1] = visitor
      unclaimed_seqs[#unclaimed_seqs + 1] = tonumber(ARGV[at + 1])
    elseif standing[i] then
      answer = 'busy' -- its time is up, but for a try that nobody settled and that may commit still
    end
  end
  reply[i] = { answer, tonumber(owned or 0), answer == 'ok' and until_ms or '0' }
end
for i, claim in ipairs(ask('ZMSCORE', claims, unclaimed)) do
  if claim then
    note('claimed', { unclaimed[i], unclaimed_seqs[i] })
  end
end
publish()
many('ZADD', fences, fenced)
many('ZREM', claims, unclaimed)
return reply
