-- bury: numbers an event of a key and remembers it, so that no older fill lands on the key.
--
-- tombstones (zset) of a partition: member 'd' .. key (deleted) or 's' .. key (set, to be kept for
-- less than a fill token lives); its score is the event's sequence. Member '' is the floor: the
-- newest sequence that was forgotten here; fills that began before it are refused, whatever their
-- key. The floor is there as long as the marks are, so that a lost zset shows. No expiry: eviction
-- can't take it.
-- A sequence is the microseconds of Redis's clock, but always more than the last: it orders even
-- when the clock steps back, and tells the age. New partitions begin with 0.
local function bury(marks, state, tombstones, now_us, member)
  local MAX_FILL_US = 60000000  -- a fill token lives this long, so a tombstone must
  local MAX_TOMBSTONES = 10000  -- about 1 MB; past it the oldest become part of the floor
  local seq = math.max(struct.unpack('<I8', state, 9) + 1, now_us)
  redis.call('HSET', marks, 'state',
    string.sub(state, 1, 8) .. struct.pack('<I8', seq) .. string.sub(state, 17))
  redis.call('ZADD', tombstones, string.format('%.0f', seq), member)
  -- One event in 64 forgets up to 256: so the others are cheap, the zset keeps to its bound but for
  -- a few hundred, and what a burst left goes without a long stop.
  if seq % 64 ~= 0 then
    return
  end
  local too_old = redis.call('ZCOUNT', tombstones, '-inf', now_us - MAX_FILL_US) - 1
  local too_many = redis.call('ZCARD', tombstones) - 1 - MAX_TOMBSTONES
  local forgotten = math.min(256, math.max(too_old, too_many))
  if forgotten > 0 then
    local newest = redis.call('ZRANGE', tombstones, forgotten, forgotten, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', tombstones, 1, forgotten)
    redis.call('ZADD', tombstones, newest[2], '')
  end
end
