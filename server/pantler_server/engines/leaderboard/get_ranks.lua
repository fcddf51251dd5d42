-- get_ranks: how members rank.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period to read
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2] '1' if those with the same score share a rank    ARGV[3 ..] members
-- returns {1, start of the period, order, how many are on the board, for each member nil, or rank (4 bytes) and
--   what KEYS[3] has of it}; or {3, now_us} if it is neither period
-- clock: redis TIME       expiry: none is set
-- include functions/period_keys.lua
local call = redis.call
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
local order = call('HGET', KEYS[1], 'order') or ''
local reply = {1, start, order, call('ZCARD', scores)}
local names = {unpack(ARGV, 3)}
for k, known in ipairs(call('HMGET', members, unpack(names))) do
  local packed = false
  if known then
    local rank
    if ARGV[2] == '1' then
      local score = struct.unpack('<d', known) * (order == 'h' and -1 or 1)
      rank = call('ZCOUNT', scores, '-inf', string.format('(%.17g', score))
    else
      rank = call('ZRANK', scores, string.sub(known, 9, 14) .. names[k])
    end
    packed = struct.pack('<I4', rank + 1) .. known
  end
  reply[k + 4] = packed
end
return reply
