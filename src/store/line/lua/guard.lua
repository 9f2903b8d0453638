-- Stands in front of the scripts that change or tell how visitors stand: a line that Redis has not, or not wholly yet, is
-- asked nothing, or what it has lost would be answered as if it had never been.
local life = redis.call('HMGET', sale, 'epoch', 'restoring')
if not life[1] then
  return redis.error_reply('MISSING the sale is not installed')
end
if life[2] then
  return redis.error_reply('RESTORING the line is being restored')
end
