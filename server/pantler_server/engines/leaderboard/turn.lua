-- turn: ends the newest period of a board, and lets another be the newest.
-- KEYS[1] board (hash)    KEYS[2] scores (zset), KEYS[3] members (hash), of the period that ends
-- KEYS[4], KEYS[5] the same of the one that begins; it may have been the newest before, if the clock stepped back
-- ARGV[1] start of the one that ends (us), as the board has it    ARGV[2] start and ARGV[3] end of the one that begins
-- ARGV[4] for how long the one that ends stays readable after its end (ms), which the board has: 0 is now
-- returns 1, or 0 if another is the newest by now
-- clock: redis TIME       expiry: KEYS[2] and KEYS[3] ARGV[4] after the end; KEYS[4] and KEYS[5] none
local call = redis.call
local newest, ends = unpack(call('HMGET', KEYS[1], 'newest', 'ends'))
if newest ~= ARGV[1] then
  return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = math.floor(ends / 1000)
local expires = (ended > 0 and ended or now) + ARGV[4]
call('PEXPIREAT', KEYS[2], expires)
call('PEXPIREAT', KEYS[3], expires)
call('PERSIST', KEYS[4])
call('PERSIST', KEYS[5])
call('HSET', KEYS[1], 'newest', ARGV[2], 'ends', ARGV[3], 'p' .. ARGV[1], expires)
call('HDEL', KEYS[1], 'p' .. ARGV[2])
local kept = call('HGETALL', KEYS[1])
for i = 1, #kept, 2 do
  if string.byte(kept[i]) == 112 and tonumber(kept[i + 1]) <= now then  -- p
    call('HDEL', KEYS[1], kept[i])
  end
end
return 1
