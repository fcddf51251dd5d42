-- add_tags: give an entry more tags, unless it is gone for readers.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)   KEYS[3] marks of labels (zset)
-- KEYS[4] history (stream)
-- KEYS[5..] indexes (zsets) of the new tags, where they are kept
-- ARGV[1] key                     ARGV[2] how many tags an entry may have
-- ARGV[3] how long it is kept after its expiry (us)
-- ARGV[4..] tags
-- returns 0 if there is no such entry, 1 if it is stale now or has expired, 2 if it is fresh, 3 if it
--   would have too many tags, and nothing is done; error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] keeps its own, KEYS[4] 10 min, the indexes with
--   their last member
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
-- include functions/cover.lua
if not state or string.sub(raw, 13, 20) ~= string.sub(state, 1, 8)
  or cover(raw, entry, state, labels) == 2
  or struct.unpack('<I8', raw, 37) + ARGV[3] <= now_us then
  return 0
end

local header_bytes = struct.unpack('<I2', raw, 3)
local content_type, tags, rest, count, has = '\0', '', '\0', 0, {}
if header_bytes > 52 then
  local at = 62 + string.byte(raw, 61)
  content_type = string.sub(raw, 61, at - 1)
  count = string.byte(raw, at)
  local first = at + 1
  at = first
  for _ = 1, count do
    local size = struct.unpack('<I2', raw, at)
    has[string.sub(raw, at + 2, at + 1 + size)] = true
    at = at + 2 + size
  end
  tags, rest = string.sub(raw, first, at - 1), string.sub(raw, at, header_bytes)
end
for i = 4, #ARGV do
  if not has[ARGV[i]] then
    tags = tags .. struct.pack('<I2', #ARGV[i]) .. ARGV[i]
    count = count + 1
  end
end
if count > tonumber(ARGV[2]) then
  return 3
end
-- Not `checked`: nothing has looked at the marks of the new tags. As if they had always been there.
local packed = string.rep('\0', 8) .. content_type .. string.char(count) .. tags .. rest
raw = string.sub(raw, 1, 2) .. struct.pack('<I2', 52 + #packed) .. string.sub(raw, 5, 52) .. packed
  .. string.sub(raw, header_bytes + 1)
redis.call('SET', entry, raw, 'KEEPTTL')
-- include functions/index.lua
index(5, #KEYS, ARGV[1], now_us, struct.unpack('<I8', raw, 37) + ARGV[3], 0)
-- include functions/tell_write.lua
tell_write(marks, KEYS[4], state, now_us, entry)
local fresh = struct.unpack('<I8', raw, 37) > now_us and cover(raw, entry, state, labels) == 0
return fresh and 2 or 1
