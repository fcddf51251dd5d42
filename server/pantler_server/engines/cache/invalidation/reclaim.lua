-- reclaim: remove entries that no read will ever give.
-- KEYS[1] marks of their partition (hash)     KEYS[2] marks of labels (zset)
-- KEYS[3] tombstones (zset)                   KEYS[4..] entries (strings)
-- ARGV[1..] for each entry: its name in the tombstones
-- returns how many it removed
-- clock: redis TIME               expiry: what is removed is gone, the rest keeps its own
local marks, labels, tombstones = KEYS[1], KEYS[2], KEYS[3]
local MAX_FILL_US = 60000000  -- a fill token lives this long

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = redis.call('HGET', marks, 'state')
-- include functions/cover.lua
-- include functions/bury.lua
local removed = 0
for i = 4, #KEYS do
  local header = redis.pcall('GETRANGE', KEYS[i], 0, 51)
  if type(header) == 'string' and string.byte(header) == 193 and #header == 52
    and (not state or string.sub(header, 13, 20) ~= string.sub(state, 1, 8)
      or cover(header, KEYS[i], state, labels) == 2) then
    removed = removed + redis.call('UNLINK', KEYS[i])
    -- Its version showed that the key was set, to fills that began before that and without a lease.
    local expires_us, ttl_us = struct.unpack('<I8I8', header, 37)
    if state and math.abs(now_us - (expires_us - ttl_us)) <= MAX_FILL_US then
      bury(marks, state, tombstones, now_us, 's' .. ARGV[i - 3])
      state = redis.call('HGET', marks, 'state')
    end
  end
end
return removed
