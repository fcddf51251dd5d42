-- delete: remove one entry, end its lease, and remember it, so that no older fill brings it back.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash)      KEYS[5] marks of labels (zset)
-- KEYS[6] history (stream)
-- ARGV[1] its name in them        ARGV[2] generation (8 random bytes), for a partition without
-- ARGV[3] version (8 bytes) that must be there, '' for any or none
-- ARGV[4] what to remember: 'd' a delete, 'i' an invalidation, 'c' one by a cascade (bury.lua)
-- ARGV[5] 0 to remove it, or the flag (entry.py) by which it stays as stale
-- returns 1 if the entry was readable, else 0; with ARGV[3], 0 says that nothing was done;
--   error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] and KEYS[4] are gone, with a flag KEYS[1] keeps its
--   own; KEYS[6] 10 min; the others never
local entry, marks, tombstones, lease, labels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, wanted, event, flag = ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[5])

local header = redis.call('GETRANGE', entry, 0, 51)
if header ~= '' and string.byte(header) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = redis.call('HGET', marks, 'state')
-- include functions/is_fresh.lua
local readable = header ~= '' and state and is_fresh(header, entry, state, labels, now_us)
if wanted ~= '' and not (readable and string.sub(header, 5, 12) == wanted) then
  return 0
end
-- First, and whether or not it is there: a full Redis lets a script that frees something write on.
if flag == 0 then
  redis.call('UNLINK', entry)
else
  redis.call('HDEL', marks, '')
  if header ~= '' then
    redis.call('SETRANGE', entry, 1, string.char(string.byte(header, 2) % 2 + flag))
  end
end
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[2])
end
-- include functions/void_lease.lua
void_lease(lease)
-- include functions/bury.lua
bury(marks, state, tombstones, now_us, event .. name)
if #state >= 104 then
  -- include functions/tell.lua
  local key = string.sub(entry, string.find(entry, '}', 1, true) + 3)
  tell(marks, KEYS[6], state, now_us, {(flag == 0 and 'K' or 'k') .. key})
end
return readable and 1 or 0
