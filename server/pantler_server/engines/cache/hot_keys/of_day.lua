-- of_day: the keys that were read most on a day (UTC).
-- KEYS[1..4] reads by day (zsets, hot_keys/keys.py)
-- ARGV[1] how many days ago: 0 is today, 1 yesterday      ARGV[2] how many to give at most
-- returns keys, most read first
-- clock: redis TIME       expiry: none is set
local today = math.floor(redis.call('TIME')[1] / 86400)
return redis.call('ZRANGE', KEYS[1 + (today - ARGV[1]) % 4], 0, ARGV[2] - 1, 'REV')
