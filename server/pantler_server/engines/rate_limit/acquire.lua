-- acquire: decides on one check by one algorithm, and does what was asked for.
-- KEYS[1] state of a rule and a subject, as algorithms/$algorithm.lua has it
-- KEYS[2] answer to the request id (string), where there is one
-- ARGV[1] what to do: 'take', 'peek' (changes nothing) or 'refund'; of concurrency also 'renew' and 'release'
-- ARGV[2] cost (permits), limit (permits), window (us) and two numbers more that the algorithm may need, of 8
--   bytes each, little-endian: in one string, which is read sooner than five
-- ARGV[3] slot, of concurrency; otherwise ''
-- ARGV[4] channel that is told of refunds: what workers remember of the subject holds no more
-- ARGV[5] fingerprint of the request (8 bytes), where KEYS[2] is there
-- returns an answer (functions/answer.lua); or {2} if the request id had another request, {3, now_us} if the
--   calendar's period is over or has not begun
-- clock: redis TIME                expiry: KEYS[1] as the algorithm says, KEYS[2] 10 min
local call = redis.call
-- include functions/answer.lua
-- include algorithms/$algorithm.lua

if KEYS[2] then
  -- include functions/answered.lua
  local first = answered(KEYS[2], ARGV[5])
  if first then
    return first
  end
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, limit, window, first, second = struct.unpack('<I8I8I8I8I8', ARGV[2])
local allowed, remaining, retry_us, reset_us = $algorithm(
  KEYS[1], now, ARGV[1], cost, limit, window, first, second, ARGV[3])
if allowed == nil then
  return {3, now}
end
local packed = answer(allowed, remaining, retry_us, reset_us, ARGV[3])
if ARGV[1] == 'refund' then
  redis.pcall('PUBLISH', ARGV[4], KEYS[1])  -- pcall: without the right to publish, all else is done
end
if KEYS[2] then
  -- include functions/remember.lua
  remember(KEYS[2], ARGV[5], packed)
end
return packed
