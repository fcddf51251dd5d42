-- send: sends a message once for a request id.
-- KEYS[1] answer to the request id (string)
-- ARGV[1] channel of Redis    ARGV[2] message, as scripts.py packs it
-- ARGV[3] fingerprint of the request (8 bytes)
-- returns 0; or {2} if the request id had another request
-- clock: none                 expiry: KEYS[1] 10 min
-- include functions/answered.lua
local first = answered(KEYS[1], ARGV[3])
if first then
  return first
end
-- include functions/remember.lua
remember(KEYS[1], ARGV[3], 0)  -- first: a full Redis refuses it only while nothing was written
local sent = redis.pcall('PUBLISH', ARGV[1], ARGV[2])
if type(sent) == 'table' then  -- without the right to
  redis.call('DEL', KEYS[1])
  return redis.error_reply('NOPERM no right to publish to the channel')
end
return 0
