-- Sockets that closed. ARGV: instance, then for each: visitor, connection.
for i = 2, #ARGV, 2 do
  if redis.call('HGET', presence, ARGV[i]) == 'i:' .. ARGV[1] .. ':' .. ARGV[i + 1] then
    redis.call('HSET', presence, ARGV[i], 'a:' .. string.format('%.0f', now))
  end
end
return 0
