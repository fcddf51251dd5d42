-- remove_tags: take tags from an entry, if a read would give it as fresh.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)   KEYS[3] marks of labels (zset)
-- KEYS[4] history (stream)
-- KEYS[5..] indexes (zsets) of the tags, where they are kept
-- ARGV[1] key                     ARGV[2..] tags
-- returns 1, 0 if there is no such entry; error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[4] 10 min; KEYS[1] and the indexes keep their own
local entry, marks, labels = KEYS[1], KEYS[2], KEYS[3]

local raw = redis.call('GET', entry)
if not raw or raw == '' then
  return 0
end
if string.byte(raw) ~= 193 or #raw < 52 then
  return redis.error_reply('WRONGTYPE not an entry')
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = redis.call('HGET', marks, 'state')
-- include functions/is_fresh.lua
if not state or not is_fresh(raw, entry, state, labels, now_us) then
  return 0
end
local header_bytes = struct.unpack('<I2', raw, 3)
if header_bytes == 52 then
  return 1
end
local doomed = {}
for i = 2, #ARGV do
  doomed[ARGV[i]] = true
end
local at = 62 + string.byte(raw, 61)
local before, kept, count = string.sub(raw, 53, at - 1), '', 0
local had = string.byte(raw, at)
at = at + 1
for _ = 1, had do
  local size = struct.unpack('<I2', raw, at)
  if not doomed[string.sub(raw, at + 2, at + 1 + size)] then
    kept = kept .. string.sub(raw, at, at + 1 + size)
    count = count + 1
  end
  at = at + 2 + size
end
local packed = before .. string.char(count) .. kept .. string.sub(raw, at, header_bytes)
redis.call('SET', entry, string.sub(raw, 1, 2) .. struct.pack('<I2', 52 + #packed)
  .. string.sub(raw, 5, 52) .. packed .. string.sub(raw, header_bytes + 1), 'KEEPTTL')
for i = 5, #KEYS do
  redis.call('ZREM', KEYS[i], ARGV[1])
end
-- include functions/tell_write.lua
tell_write(marks, KEYS[4], state, now_us, entry)
return 1
