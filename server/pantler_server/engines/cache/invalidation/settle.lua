-- settle: hide everything in a partition unless this Redis served it as the primary before.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)
-- ARGV[1] generation (8 random bytes)
-- returns 1 if it hid everything, else 0
-- clock: none                     expiry: none has one
local marks, tombstones = KEYS[1], KEYS[2]

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', marks, 'primary') == run_id then
  return 0
end
-- include functions/new_partition.lua
new_partition(marks, tombstones, ARGV[1])
redis.call('HSET', marks, 'primary', run_id)
return 1
