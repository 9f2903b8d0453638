-- Sockets that closed. ARGV: instance, then for each: visitor, connection.
local visitors, left = {}, {}
for i = 2, #ARGV, 2 do
  visitors[#visitors + 1] = ARGV[i]
end
local since = 'a:' .. string.format('%.0f', now)
for i, record in ipairs(ask('HMGET', presence, visitors)) do
  if record == 'i:' .. ARGV[1] .. ':' .. ARGV[2 * i + 1] then
    left[#left + 1] = visitors[i]
    left[#left + 1] = since
  end
end
many('HSET', presence, left)
return 0
