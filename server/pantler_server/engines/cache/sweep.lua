-- sweep: forget what a partition need not remember any more: tombstones that no fill token is as old as,
-- and marks of labels that no entry is as old as. Some at a time.
-- KEYS[1] tombstones (zset)       KEYS[2] marks of labels (zset)
-- ARGV[1] how long an entry may be kept (us)
-- returns {how many it forgot, how many tombstones are left, how long until the oldest mark may go (us), 0
--   if there is none}
-- clock: redis TIME               expiry: none has one
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
-- include functions/trim_tombstones.lua
-- include functions/trim_marks.lua
local forgotten = trim_tombstones(KEYS[1], now_us) + trim_marks(KEYS[2], now_us, ARGV[1], 256)
local oldest = redis.call('ZRANGE', KEYS[2], 1, 1, 'WITHSCORES')
local left_us = oldest[2] and math.max(1, oldest[2] + ARGV[1] - now_us) or 0
return {forgotten, math.max(0, redis.call('ZCARD', KEYS[1]) - 1), left_us}
