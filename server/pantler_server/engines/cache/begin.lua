-- begin: see to it that a partition has marks, so that fills that begin now can be told from older ones.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)
-- ARGV[1] generation (8 random bytes), for a partition without
-- returns {state, time of Redis as TIME has it}
-- clock: redis TIME               expiry: none has one
local marks, tombstones = KEYS[1], KEYS[2]

redis.call('HDEL', marks, '')  -- a full Redis lets a script that frees something write on
local state = redis.call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[1])
end
return {state, redis.call('TIME')}
