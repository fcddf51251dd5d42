-- add_unique: let a set of uniques have seen members.
-- KEYS[1] set (HyperLogLog)
-- ARGV[1] ttl (ms), 0 if none is given   ARGV[2] ttl of a new set (ms), 0 for none   ARGV[3..n] members
-- returns 1 if the count may have changed, else 0; error WRONGTYPE if KEYS[1] holds anything else
-- clock: redis's, by PEXPIRE   expiry: KEYS[1] ARGV[1]; else its own, of a new one ARGV[2], else never
-- include functions/live_for.lua

local was_there = redis.call('EXISTS', KEYS[1]) == 1
local changed = redis.call('PFADD', KEYS[1], unpack(ARGV, 3))
live_for(KEYS[1], was_there, ARGV[1], ARGV[2])
return changed
