-- describe: a board as a whole.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period to read
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2 ..] percentiles (0 to 100)
-- returns {1, start of the period, how many are on the board, a page of the best and one of the worst
--   (functions/page.lua), order ('' if there is no board), starts of the periods that are kept, comma-separated, for
--   each percentile the score, unless there are no members}; or {3, now_us} if it is neither period
-- clock: redis TIME       expiry: none is set
-- include functions/period_keys.lua
-- include functions/page.lua
local call = redis.call
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
local time = call('TIME')
local now, order, kept = time[1] * 1000 + time[2] / 1000, '', {}
local board = call('HGETALL', KEYS[1])
for i = 1, #board, 2 do
  local field, value = board[i], board[i + 1]
  if field == 'order' then
    order = value
  elseif field == 'newest' then
    kept[#kept + 1] = value
  elseif string.byte(field) == 112 and tonumber(value) > now then  -- p
    kept[#kept + 1] = string.sub(field, 2)
  end
end
local count = call('ZCARD', scores)
local reply = {
  1, start, count, page(scores, members, 0, 0), page(scores, members, count - 1, count - 1),
  order, table.concat(kept, ','),
}
for k = 2, count > 0 and #ARGV or 0 do
  -- Nearest rank, counted from the worst. Tenths of percents are not exact in a double: 16.1 of 1,000 are 161.
  local share = ARGV[k] * count / 100
  local place = count - math.max(1, math.ceil(share - share * 1e-12))
  local score = call('ZRANGE', scores, place, place, 'WITHSCORES')[2]
  reply[k + 6] = struct.pack('<d', order == 'h' and -tonumber(score) or tonumber(score))
end
return reply
