-- trim: forgets up to 256 tombstones (bury.lua) that are older than any fill token, or too many; the
-- newest of them becomes the floor. Returns how many it forgot.
local function trim(tombstones, now_us)
  local MAX_FILL_US = 60000000  -- a fill token lives this long, so a tombstone must
  local MAX_TOMBSTONES = 10000  -- about 1.2 MB; past it the oldest become part of the floor
  local too_old = redis.call('ZCOUNT', tombstones, '-inf', now_us - MAX_FILL_US) - 1
  local too_many = redis.call('ZCARD', tombstones) - 1 - MAX_TOMBSTONES
  local forgotten = math.min(256, math.max(too_old, too_many))
  if forgotten <= 0 then
    return 0
  end
  local newest = redis.call('ZRANGE', tombstones, forgotten, forgotten, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', tombstones, 1, forgotten)
  redis.call('ZADD', tombstones, newest[2], '')
  return forgotten
end
