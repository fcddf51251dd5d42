-- cascade: note in a partition that keys were invalidated on which others depend, and tell which.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)       KEYS[3] marks of labels (zset)
-- KEYS[4] history (stream)
-- KEYS[5..] for each of these keys: the keys of the partition whose entries depend on it (zset,
--   functions/index.lua), and those that were declared to (zset)
-- ARGV[1] generation (8 random bytes), for a partition without
-- ARGV[2] how long an entry may be kept (us)
-- ARGV[3] how many dependents to tell of one key at most; when as many were told, the rest is left
-- ARGV[4..] members of KEYS[3] (functions/mark_labels.lua), one for each key
-- returns {dependents by their entries, dependents that were declared, of how many keys they are}
-- clock: redis TIME               expiry: KEYS[4] 10 min; nothing else that is written has one
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
for i = 4, #ARGV do
  members[i - 3] = ARGV[i]
end
-- include functions/mark_labels.lua
mark_labels(marks, state, labels, history, now_us, ARGV[2], members)
local by_entry, declared, most, told = {}, {}, tonumber(ARGV[3]), 0
for i = 5, #KEYS, 2 do
  if #by_entry + #declared >= most then
    break
  end
  told = told + 1
  local found = redis.call('ZRANGE', KEYS[i], now_us, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3])
  for _, key in ipairs(found) do
    by_entry[#by_entry + 1] = key
  end
  for _, key in ipairs(redis.call('ZRANGE', KEYS[i + 1], 0, ARGV[3] - 1)) do
    declared[#declared + 1] = key
  end
end
return {by_entry, declared, told}
