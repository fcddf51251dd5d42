-- touch: give an entry a new ttl from now on, if a read would give it as fresh.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)   KEYS[3] tombstones (zset)
-- KEYS[4] marks of labels (zset)    KEYS[5] history (stream)
-- ARGV[1] version (8 bytes) that must be there, '' for any           ARGV[2] ttl (us)
-- ARGV[3] time to keep it: ttl and grace (ms)                        ARGV[4] name in KEYS[3]
-- returns expiry (Unix us), 0 if there is no such entry; {expiry, labels (as entry.py packs them)} if it
--   has some, whose indexes the caller moves; error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] ARGV[3], KEYS[5] 10 min; the others never
local entry, marks, tombstones, labels = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wanted, ttl_us, keep_ms = ARGV[1], ARGV[2], ARGV[3]

local header = redis.call('GETRANGE', entry, 0, 51)
if header == '' then
  return 0
end
if string.byte(header) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = redis.call('HGET', marks, 'state')
-- include functions/is_fresh.lua
if not state or (wanted ~= '' and string.sub(header, 5, 12) ~= wanted)
  or not is_fresh(header, entry, state, labels, now_us) then
  return 0
end
local expires_us = now_us + ttl_us
redis.call('SETRANGE', entry, 36, struct.pack('<I8I8', expires_us, ttl_us))
redis.call('PEXPIRE', entry, keep_ms)
if tonumber(keep_ms) < 60000 then  -- as a Set that is kept so shortly
  -- include functions/bury.lua
  bury(marks, state, tombstones, now_us, 's' .. ARGV[4])
end
-- include functions/tell_write.lua
tell_write(marks, KEYS[5], state, now_us, entry)
local header_bytes = struct.unpack('<I2', header, 3)
if header_bytes > 52 then
  redis.call('SETRANGE', entry, 52, string.sub(state, 9, 16))  -- no mark until now covers it
  return {expires_us, redis.call('GETRANGE', entry, 52, header_bytes - 1)}
end
return expires_us
