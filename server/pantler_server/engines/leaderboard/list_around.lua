-- list_around: a member amid those who rank next to it.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period to read
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2] '1' if those with the same score share a rank
-- ARGV[3] member          ARGV[4] how many in all
-- returns {1, start of the period, how many are on the board, a page (functions/page.lua), '' if the member is not on
--   it}; or {3, now_us} if it is neither period
-- clock: redis TIME       expiry: none is set
-- include functions/period_keys.lua
-- include functions/page.lua
local call = redis.call
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
call('HLEN', KEYS[1])  -- it fails if the name holds another kind
local count, packed = call('ZCARD', scores), ''
local known = call('HGET', members, ARGV[3])
if known then
  local place = call('ZRANK', scores, string.sub(known, 9, 14) .. ARGV[3])
  local first = place - math.floor(ARGV[4] / 2)
  first = math.max(0, math.min(first, count - ARGV[4]))
  packed = page(scores, members, first, first + ARGV[4] - 1, ARGV[2] == '1')
end
return {1, start, count, packed}
