-- mark_labels: note in a partition that tags or dependencies were invalidated.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)       KEYS[3] marks of labels (zset)
-- KEYS[4] history (stream)
-- ARGV[1] generation (8 random bytes), for a partition without
-- ARGV[2] how long an entry may be kept (us)
-- ARGV[3..] members of KEYS[3] (functions/mark_labels.lua)
-- returns how many members KEYS[3] has now, the floor not counted
-- clock: redis TIME               expiry: KEYS[4] 10 min; the others never
local marks, tombstones, labels, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
redis.call('HDEL', marks, '')  -- a full Redis lets a script that frees something write on
local state = redis.call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[1])
end
local members = {}
for i = 3, #ARGV do
  members[i - 2] = ARGV[i]
end
-- include functions/mark_labels.lua
mark_labels(marks, state, labels, history, now_us, ARGV[2], members)
return redis.call('ZCARD', labels) - 1
