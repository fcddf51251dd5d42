-- publish: gives a message the next sequence of its namespace, keeps it in the history, and sends it.
-- KEYS[1] counts of the namespace (hash)    KEYS[2] history (stream)
-- KEYS[3] answer to the request id (string), where there is one
-- ARGV[1] channel of Redis                  ARGV[2] channel
-- ARGV[3] content type                      ARGV[4] payload
-- ARGV[5] run id of the primary (8 bytes)   ARGV[6] about how many messages to keep
-- ARGV[7] for how long after the newest (ms)
-- ARGV[8] fingerprint of the request (8 bytes), where KEYS[3] is there
-- returns the sequence; or {2} if the request id had another request
-- clock: redis TIME                         expiry: none of KEYS[1]; KEYS[2] ARGV[7], KEYS[3] 10 min
local call = redis.call
-- include functions/epoch.lua

if not redis.acl_check_cmd('PUBLISH', ARGV[1], '') then  -- before a number is given: nobody would have it
  return redis.error_reply('NOPERM no right to publish to the channel')
end
if KEYS[3] then
  -- include functions/answered.lua
  local first = answered(KEYS[3], ARGV[8])
  if first then
    return first
  end
end
local newest, gap = epoch(KEYS[1], KEYS[2], ARGV[5])
local sequence = newest + 1
local number = string.format('%.0f', sequence)
call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], number .. '-0', 'c', ARGV[2], 't', ARGV[3], 'p', ARGV[4])
call('PEXPIRE', KEYS[2], ARGV[7])
call('HSET', KEYS[1], 'sequence', number)
if KEYS[3] then
  -- include functions/remember.lua
  remember(KEYS[3], ARGV[8], sequence)
end
local packed = struct.pack('<I8I8I1', sequence, gap, #ARGV[3]) .. ARGV[3] .. ARGV[4]
call('PUBLISH', ARGV[1], packed)
return sequence
