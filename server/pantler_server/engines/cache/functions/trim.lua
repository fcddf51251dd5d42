-- trim: forgets members of a zset whose scores are sequences and whose member '' is the floor: those
-- up to a sequence, and the oldest if there are more than `most`, but only `at_once` in one step; the
-- newest of them becomes the floor. Returns how many it forgot.
local function trim(zset, upto, most, at_once)
  local too_old = redis.call('ZCOUNT', zset, '-inf', upto) - 1
  local too_many = redis.call('ZCARD', zset) - 1 - most
  local forgotten = math.min(at_once, math.max(too_old, too_many))
  if forgotten <= 0 then
    return 0
  end
  local newest = redis.call('ZRANGE', zset, forgotten, forgotten, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', zset, 1, forgotten)
  redis.call('ZADD', zset, newest[2], '')
  return forgotten
end
