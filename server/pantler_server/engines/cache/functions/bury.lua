-- bury: numbers an event of a key and remembers it, so that no older fill lands on the key.
--
-- tombstones (zset) of a partition: member 'd' .. name (deleted), 'i' .. name (invalidated), 'c' ..
-- name (invalidated by a cascade) or 's' .. name (set, to be kept for less than a fill token lives);
-- its score is the event's sequence. The name is the key, or a digest of one that is long (keys.py).
-- Member '' is the floor: the newest sequence that was forgotten here; fills that began before it are
-- refused, whatever their key. The floor is there as long as the marks are, so that a lost zset shows.
-- No expiry: eviction can't take it.
-- A sequence is the microseconds of Redis's clock, but always more than the last: it orders even
-- when the clock steps back, and tells the age. New partitions begin with 0.
-- include functions/trim_tombstones.lua
local function bury(marks, state, tombstones, now_us, member)
  local seq = math.max(struct.unpack('<I8', state, 9) + 1, now_us)
  redis.call('HSET', marks, 'state',
    string.sub(state, 1, 8) .. struct.pack('<I8', seq) .. string.sub(state, 17))
  redis.call('ZADD', tombstones, string.format('%.0f', seq), member)
  -- One event in 64 trims: so the others are cheap, the zset keeps to its bound but for a few
  -- hundred, and what a burst left goes without a long stop. What an idle partition keeps is swept
  -- (sweeper.py).
  if seq % 64 == 0 then
    trim_tombstones(tombstones, now_us)
  end
end
