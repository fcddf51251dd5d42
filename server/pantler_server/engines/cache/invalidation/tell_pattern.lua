-- tell_pattern: write into the history of a partition that what matches a pattern was removed.
-- KEYS[1] marks (hash)            KEYS[2] history (stream)
-- ARGV[1] pattern
-- returns 1
-- clock: redis TIME               expiry: KEYS[2] 10 min; KEYS[1] never
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
redis.call('HDEL', KEYS[1], '')  -- a full Redis lets a script that frees something write on
local state = redis.call('HGET', KEYS[1], 'state')
if state then
  -- include functions/tell.lua
  tell(KEYS[1], KEYS[2], state, now_us, {'P' .. ARGV[1]})
end
return 1
