-- mark_partition: note in a partition that something happened to all its entries, or to all fills.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)       KEYS[3] history (stream)
-- ARGV[1] generation (8 random bytes), for a partition without
-- ARGV[2] what: where it stands in the state (marks.py, after how many bytes)
-- ARGV[3] of an age: Unix us before which the fills of the entries began; else ''
-- ARGV[4] the event for its history (watch/history.py), '' for none
-- returns sequence (text); 0 if the age lies in the future, and nothing is done
-- clock: redis TIME               expiry: KEYS[3] 10 min; the others never
local marks, tombstones, at, before_us = KEYS[1], KEYS[2], tonumber(ARGV[2]), ARGV[3]
local SKEW_US = 1000000  -- the caller's clock may be ahead by this

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
if before_us ~= '' and tonumber(before_us) > now_us + SKEW_US then
  return 0
end
redis.call('HDEL', marks, '')  -- a full Redis lets a script that frees something write on
local state = redis.call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[1])
end
local seq = math.max(struct.unpack('<I8', state, 9) + 1, now_us)
local said = struct.pack('<I8', seq)
if before_us ~= '' then
  local known = #state >= 88 and struct.unpack('<I8', state, at + 9) or 0
  said = said .. struct.pack('<I8', math.max(known, before_us))
end
-- include functions/note.lua
note(marks, state, seq, at, said)
if ARGV[4] ~= '' then
  -- include functions/tell.lua
  tell(marks, KEYS[3], state, now_us, {ARGV[4]})
end
return string.format('%.0f', seq)
