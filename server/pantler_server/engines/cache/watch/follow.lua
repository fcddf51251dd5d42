-- follow: let a partition write its events into its history for a while from now on.
-- KEYS[1] marks (hash)            KEYS[2] tombstones (zset)
-- ARGV[1] generation (8 random bytes), for a partition without
-- ARGV[2] for how long (us)       ARGV[3] 1 if writes are events too, else 0
-- returns {generation, number of the newest event (text)}
-- clock: redis TIME               expiry: none has one
local marks, tombstones, writes = KEYS[1], KEYS[2], ARGV[3] == '1'

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
redis.call('HDEL', marks, '')  -- a full Redis lets a script that frees something write on
local state = redis.call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[1])
end
local padded = state .. string.rep('\0', 104 - #state)
local events_until, writes_until = struct.unpack('<I8I8', padded, 89)
local last = tonumber(redis.call('HGET', marks, 'events'))
if not last or events_until < now_us or (writes and writes_until < now_us) then
  -- Events went unwritten: their place is taken by a number that no event has. The numbers go on from
  -- the time, so that none comes twice, also if the marks were lost.
  last = math.max((last or 0) + 1, now_us)
  redis.call('HSET', marks, 'events', string.format('%.0f', last))
end
local until_us = now_us + ARGV[2]
redis.call('HSET', marks, 'state', string.sub(padded, 1, 88)
  .. struct.pack('<I8I8', until_us, writes and until_us or writes_until) .. string.sub(padded, 105))
return {string.sub(state, 1, 8), string.format('%.0f', last)}
