-- remove: takes members off a board.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash)
-- KEYS[4], KEYS[5] the same of the next period, where it is not said which period
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2 ..] members
-- returns {1, start of the period, for each member 1 if it was on the board, else 0}; or {3, now_us} if it is neither
--   period
-- clock: redis TIME       expiry: stays as it is
-- include functions/period_keys.lua
local call = redis.call
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
call('HLEN', KEYS[1])  -- it fails if the name holds another kind
local names, reply = {unpack(ARGV, 2)}, {1, start}
for k, known in ipairs(call('HMGET', members, unpack(names))) do
  reply[k + 2] = 0
  if known and call('HDEL', members, names[k]) == 1 then  -- else it came twice
    call('ZREM', scores, string.sub(known, 9, 14) .. names[k])
    reply[k + 2] = 1
  end
end
return reply
