-- Keeps the fences that a writer still has no answer about. ARGV: how long (ms), then for each: visitor, until when it
-- stands, odd or even as before (fence.lua). One that has run out stays down, and another try's is let alone. Answers until when each stands, or 0.
local visitors = {}
for i = 2, #ARGV, 2 do
  visitors[#visitors + 1] = ARGV[i]
end
local even = now + tonumber(ARGV[1])
even = even - even % 2
local reply, renewed = {}, {}
for i, score in ipairs(ask('ZMSCORE', fences, visitors)) do
  reply[i] = '0'
  if score and tonumber(score) == tonumber(ARGV[2 * i + 1]) and tonumber(score) > now then
    reply[i] = string.format('%.0f', even + score % 2)
    renewed[#renewed + 1] = reply[i]
    renewed[#renewed + 1] = visitors[i]
  end
end
many('ZADD', fences, renewed)
return reply
