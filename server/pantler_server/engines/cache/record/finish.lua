-- finish: a write has come to an end at the origin. Its record is stored if nothing else happened to the key
-- since fence.lua; else the key is left without an entry, for the next reader to load.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash)      KEYS[5] history (stream)
-- KEYS[6] fences of the key (zset)  KEYS[7] answer to the request id (string), if it is to be remembered
-- ARGV[1] name in the tombstones  ARGV[2] generation (8 random bytes), for a partition without
-- ARGV[3] writer, as in fence.lua   ARGV[4] its lease id (8 bytes)
-- ARGV[5] header (entry.py) up to the version, '' if the record is not known
-- ARGV[6] header from the ttl on, and the value    ARGV[7] ttl (us)    ARGV[8] time to keep it (ms)
-- ARGV[9] fingerprint of the request (8 bytes)      ARGV[10..11] the answer, with KEYS[7]
-- returns expiry (Unix us) if the record was stored, else 0
-- clock: redis TIME               expiry: KEYS[1] ARGV[8]; KEYS[4] is gone; KEYS[5] and KEYS[7] 10 min; KEYS[6] as
--   it was; the others never
local entry, marks, tombstones, lease, fences = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local name, writer, id, head = ARGV[1], ARGV[3], ARGV[4], ARGV[5]

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local fenced = redis.call('ZREM', fences, writer) == 1
local state = redis.call('HGET', marks, 'state')
local stored_us = 0
-- Whoever else writes the key, and all that happens to it, ends the writer's lease. If its fence was lost
-- (it took too long, or was evicted) there may be one that thinks itself alone: that one's lease ends below.
-- include functions/void_lease.lua
if fenced and head ~= '' and state and redis.call('HGET', lease, 'id') == id then
  void_lease(lease)
  -- include functions/store_entry.lua
  stored_us = store_entry(entry, marks, tombstones, KEYS[5], state, now_us, head, ARGV[6],
    tonumber(ARGV[7]), tonumber(ARGV[8]), name)
else
  redis.call('UNLINK', entry)
  if not state then
    -- include functions/new_partition.lua
    state = new_partition(marks, tombstones, ARGV[2])
  end
  void_lease(lease)
  -- include functions/bury.lua
  bury(marks, state, tombstones, now_us, 'd' .. name)
end
if KEYS[7] then
  -- include functions/remember.lua
  remember(KEYS[7], ARGV[9], {ARGV[10], ARGV[11]})
end
return stored_us
