-- list_by_rank: members from a rank on.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period to read
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2] '1' if those with the same score share a rank
-- ARGV[3] rank to begin with, from 1    ARGV[4] how many
-- returns {1, start of the period, how many are on the board, a page (functions/page.lua)}; or {3, now_us} if it is
--   neither period
-- clock: redis TIME       expiry: none is set
-- include functions/period_keys.lua
-- include functions/page.lua
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
redis.call('HLEN', KEYS[1])  -- it fails if the name holds another kind
local first = ARGV[3] - 1
local packed = page(scores, members, first, first + ARGV[4] - 1, ARGV[2] == '1')
return {1, start, redis.call('ZCARD', scores), packed}
