-- list_by_score: members whose scores lie between two bounds.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period to read
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2] '1' if those with the same score share a rank
-- ARGV[3] lowest score, ARGV[4] highest (doubles, or '-inf' and 'inf')    ARGV[5] how many
-- returns {1, start of the period, how many are on the board, a page (functions/page.lua), how many have such
--   scores}; or {3, now_us} if it is neither period
-- clock: redis TIME       expiry: none is set
-- include functions/period_keys.lua
-- include functions/page.lua
local call = redis.call
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
local least, most = ARGV[3], ARGV[4]
if call('HGET', KEYS[1], 'order') == 'h' then  -- scores are negative then
  least, most = -tonumber(most), -tonumber(least)
end
least, most = string.format('%.17g', least), string.format('%.17g', most)
local better = call('ZCOUNT', scores, '-inf', '(' .. least)
local matched = call('ZCOUNT', scores, least, most)
local packed = ''
if matched > 0 then
  packed = page(scores, members, better, better + math.min(matched, ARGV[5]) - 1, ARGV[2] == '1')
end
return {1, start, call('ZCARD', scores), packed, matched}
