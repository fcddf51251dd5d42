-- acquire_all: takes from all of some checks, or from none.
-- KEYS[1..n] states of rules and subjects, all of different ones, as algorithms/*.lua have them
-- KEYS[n + 1] answer to the request id (string), where there is one
-- ARGV[1] n    ARGV[2] fingerprint of the request (8 bytes), '' without a request id
-- ARGV[4k - 1 ..] of check k: algorithm, whether it can deny (0|1), and its numbers and slot, as acquire.lua
--   has them
-- returns {taken 0|1, answer to check 1, …}, each as acquire.lua gives it; or {2} or {3, now_us}, as there
-- clock: redis TIME                expiry: as acquire.lua
-- include functions/answer.lua
-- include functions/answered.lua
-- include algorithms/fixed_window.lua
-- include algorithms/sliding_window_log.lua
-- include algorithms/sliding_window_counter.lua
-- include algorithms/token_bucket.lua
-- include algorithms/gcra.lua
-- include algorithms/concurrency.lua
local decide = {
  fixed_window = fixed_window,
  sliding_window_log = sliding_window_log,
  sliding_window_counter = sliding_window_counter,
  token_bucket = token_bucket,
  gcra = gcra,
  concurrency = concurrency,
}
local checks = tonumber(ARGV[1])
local record = KEYS[checks + 1]
if record then
  local first = answered(record, ARGV[2])
  if first then
    return first
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function ask(k, action)
  local at = 4 * k - 1
  local slot = ARGV[at + 3]
  local cost, limit, window, first, second = struct.unpack('<I8I8I8I8I8', ARGV[at + 2])
  local allowed, remaining, retry_us, reset_us = decide[ARGV[at]](
    KEYS[k], now, action, cost, limit, window, first, second, slot)
  if allowed == nil then
    return nil
  end
  return answer(allowed, remaining, retry_us, reset_us, slot), allowed
end

local answers, would = {1}, {}
for k = 1, checks do
  local seen, allowed = ask(k, 'peek')
  if not seen then
    return {3, now}
  end
  if not allowed and ARGV[4 * k] == '1' then
    answers[1] = 0
  end
  answers[k + 1], would[k] = seen, allowed
end
if answers[1] == 1 then
  for k = 1, checks do
    if would[k] then
      answers[k + 1] = ask(k, 'take')
    end
  end
end
if record then
  -- include functions/remember.lua
  remember(record, ARGV[2], answers)
end
return answers
