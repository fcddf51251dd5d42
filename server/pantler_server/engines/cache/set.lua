-- set: store one entry, over the entry that was there.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- ARGV[1] value                   ARGV[2] ttl (ms, at least 1)
-- ARGV[3] version (8 bytes)       ARGV[4] content type (0 to 255 bytes)
-- ARGV[5] generation (8 random bytes), for a partition that has none
-- returns hard expiry (Unix ms); error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] ARGV[2]; KEYS[2] never (without it all is hidden)
local entry, marks = KEYS[1], KEYS[2]
local value, ttl_ms, version, content_type = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local format = redis.call('GETRANGE', entry, 0, 0)
if format ~= '' and format ~= '\193' then
  return redis.error_reply('WRONGTYPE not an entry')
end

local mark = redis.call('HMGET', marks, 'generation', 'seq')
local generation, seq = mark[1], tonumber(mark[2])
if not generation then
  generation, seq = ARGV[5], 0
  redis.call('HSET', marks, 'generation', generation, 'seq', seq)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local expires_ms = now_ms + ttl_ms
local header = struct.pack('<BBHc8c8I8I8I8', 193, #content_type, 44 + #content_type,
  version, generation, seq, now_ms, expires_ms)
redis.call('SET', entry, header .. content_type .. value, 'PX', ttl_ms)
return expires_ms
