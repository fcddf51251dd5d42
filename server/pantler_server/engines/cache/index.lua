-- index: note an entry in the indexes of its labels.
-- KEYS[1..] indexes (zsets), first those of tags, then those of dependencies
-- ARGV[1] key                     ARGV[2] how many of the indexes are of tags
-- ARGV[3] until when the entry is kept (Unix us)
-- ARGV[4] how much longer than the entry a dependency is kept in its index (us)
-- returns 1
-- clock: redis TIME               expiry: with the last member of each
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
-- include functions/index.lua
index(1, tonumber(ARGV[2]), ARGV[1], now_us, tonumber(ARGV[3]), ARGV[3] + ARGV[4])
return 1
