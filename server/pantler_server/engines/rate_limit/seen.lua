-- seen: notes that a worker is there, and counts those that were seen lately.
-- KEYS[1] workers (zset), by when each was last seen (Unix ms)
-- ARGV[1] the worker               ARGV[2] how long is lately (ms)
-- returns how many
-- clock: redis TIME                expiry: ARGV[2]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
