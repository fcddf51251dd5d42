-- sweep: forget the tombstones of a partition that no fill token needs any more, some at a time.
-- KEYS[1] tombstones (zset)
-- returns {how many it forgot, how many are left}
-- clock: redis TIME               expiry: KEYS[1] never
local time = redis.call('TIME')
-- include functions/trim.lua
local forgotten = trim(KEYS[1], time[1] * 1000000 + time[2])
return {forgotten, math.max(0, redis.call('ZCARD', KEYS[1]) - 1)}
