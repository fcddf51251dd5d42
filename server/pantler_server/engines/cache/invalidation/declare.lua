-- declare: say what a key depends on, in place of what was said before.
-- KEYS[1] its declared dependencies (set)
-- KEYS[2..] declared dependents (zsets, by the time of their declaration): of those that it depended on,
--   then of those that it now does
-- ARGV[1] key                     ARGV[2] how many it depended on
-- ARGV[3..] what it depended on, then what it now depends on
-- returns 1, 0 if it depends on something else by now, and nothing is done
-- clock: redis TIME               expiry: none has one
local forward, key, before = KEYS[1], ARGV[1], tonumber(ARGV[2])

if redis.call('SCARD', forward) ~= before then
  return 0
end
for i = 1, before do
  if redis.call('SISMEMBER', forward, ARGV[2 + i]) == 0 then
    return 0
  end
end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_on = {}
for i = before + 1, #ARGV - 2 do  -- first: a full Redis refuses it only while nothing was written
  now_on[ARGV[2 + i]] = true
  if redis.call('SISMEMBER', forward, ARGV[2 + i]) == 0 then
    redis.call('ZADD', KEYS[1 + i], now_us, key)
    redis.call('SADD', forward, ARGV[2 + i])
  end
end
for i = 1, before do
  if not now_on[ARGV[2 + i]] then
    redis.call('ZREM', KEYS[1 + i], key)
    redis.call('SREM', forward, ARGV[2 + i])
  end
end
return 1
