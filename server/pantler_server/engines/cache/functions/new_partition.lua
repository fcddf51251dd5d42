-- new_partition: the marks of a partition that has none, and its tombstones with their floor. What
-- may be left of older tombstones is of no use: fills of another generation are refused.
local function new_partition(marks, tombstones, generation)
  local state = generation .. struct.pack('<I8', 0)
  redis.call('HSET', marks, 'state', state)
  redis.call('DEL', tombstones)
  redis.call('ZADD', tombstones, 0, '')
  return state
end
