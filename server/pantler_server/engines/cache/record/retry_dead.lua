-- retry_dead: put dead writes at the end of the log again, as new ones.
-- KEYS[1] dead writes (hash)          KEYS[2] log (stream)             KEYS[3] its state (hash)
-- ARGV[1] run id of the primary (8 bytes)
-- ARGV[2..] of each write its version (text), key, operation, and fields (JSON)
-- returns how many were still dead, and wait now
-- clock: redis TIME                   expiry: none has one
local dead, log, state = KEYS[1], KEYS[2], KEYS[3]

-- include functions/next_version.lua
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local moved = 0
for i = 2, #ARGV, 4 do
  -- While it is in the log, whoever drains that does it, or finds that it is dead: not both that and this.
  local waits = #redis.call('XRANGE', log, ARGV[i], ARGV[i]) > 0
  if not waits and redis.call('HDEL', dead, ARGV[i]) == 1 then
    -- No pending record: what it will make of the record only the origin knows. So `x`, too.
    redis.call('XADD', log, string.format('%.0f-0', next_version(state, ARGV[1], now_us)), 'k', ARGV[i + 1],
      'o', ARGV[i + 2], 'f', ARGV[i + 3], 't', string.format('%.0f', now_us), 'x', '1')
    moved = moved + 1
  end
end
return moved
