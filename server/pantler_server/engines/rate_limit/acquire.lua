-- acquire: decides on one check by one algorithm, and does what was asked for.
-- KEYS[1] state of a rule and a subject, as algorithms/$algorithm.lua has it
-- KEYS[2] answer to the request id (string), where there is one
-- ARGV[1] what to do: 'take', 'peek' (changes nothing) or 'refund'; of concurrency also 'renew'
-- ARGV[2] cost (permits)           ARGV[3] limit (permits)         ARGV[4] window (us)
-- ARGV[5], ARGV[6] what else the algorithm needs
-- ARGV[7] channel that is told of refunds: what workers remember of the subject holds no more
-- ARGV[8] fingerprint of the request (8 bytes), where KEYS[2] is there
-- returns {allowed 0|1, remaining, retry_after_us, reset_after_us, slot}; or {2} if the request id had another
--   request, {3, now_us} if the calendar's period is over or has not begun
-- clock: redis TIME                expiry: KEYS[1] as the algorithm says, KEYS[2] 10 min
local call = redis.call
-- include functions/answered.lua
-- include algorithms/$algorithm.lua

if KEYS[2] then
  local first = answered(KEYS[2], ARGV[8])
  if first then
    return first
  end
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local allowed, remaining, retry_us, reset_us = $algorithm(
  KEYS[1], now, ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6])
if allowed == nil then
  return {3, now}
end
local answer = {allowed and 1 or 0, remaining, retry_us, reset_us, ARGV[5]}
if ARGV[1] == 'refund' then
  redis.pcall('PUBLISH', ARGV[7], KEYS[1])  -- pcall: without the right to publish, all else is done
end
if KEYS[2] then
  call('SET', KEYS[2], ARGV[8] .. cmsgpack.pack(answer), 'PX', 600000)
end
return answer
