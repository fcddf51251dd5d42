-- merge_unique: let a set of uniques have seen what others have.
-- KEYS[1] set (HyperLogLog)   KEYS[2..n] the others
-- ARGV[1] ttl (ms), 0 if none is given   ARGV[2] ttl of a new set (ms), 0 for none
-- returns how many different members KEYS[1] has seen now; error WRONGTYPE if one of KEYS holds anything else
-- clock: redis's, by PEXPIRE   expiry: KEYS[1] ARGV[1]; else its own, of a new one ARGV[2], else never
-- include functions/live_for.lua

local was_there = redis.call('EXISTS', KEYS[1]) == 1
redis.call('PFMERGE', unpack(KEYS))
live_for(KEYS[1], was_there, ARGV[1], ARGV[2])
return redis.call('PFCOUNT', KEYS[1])
