-- increment: add to a counter, unless it would be outside its bounds then.
-- KEYS[1] counter (string)   KEYS[2] answer to the request id (string), where there is one
-- ARGV[1] delta              ARGV[2] floor          ARGV[3] ceiling
-- ARGV[4] ttl (ms), 0 if none is given              ARGV[5] ttl of a new counter (ms), 0 for none
-- ARGV[6] fingerprint of the request (8 bytes), where there is KEYS[2]
-- returns {0|1 added, value, expiry (Unix ms, 0 if there is none)}; {2} if the id was another request's;
--   error WRONGTYPE if KEYS[1] holds anything but a counter
-- clock: redis's, by PEXPIRE
-- expiry: KEYS[1], if something was added: ARGV[4]; else its own, of a new one ARGV[5], else never; KEYS[2]
--   10 min
local counter, answer = KEYS[1], KEYS[2]
local delta, floor, ceiling = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- include functions/answered.lua
-- include functions/remember.lua
-- include functions/counted.lua
-- include functions/live_for.lua

local first = answer and answered(answer, ARGV[6])
if first then
  return first
end
local before = counted(counter)
if before == false then
  return redis.error_reply('WRONGTYPE not a counter')
end
-- A sum beyond 2^53 may be rounded, but never to one within the bounds.
local value, added = (before or 0) + delta, 1
if value < floor or value > ceiling then
  value, added = before or 0, 0
else
  redis.call('INCRBY', counter, ARGV[1])
  live_for(counter, before, ARGV[4], ARGV[5])
end
local result = {added, value, math.max(redis.call('PEXPIRETIME', counter), 0)}
if answer then
  remember(answer, ARGV[6], result)
end
return result
