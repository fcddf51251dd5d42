-- next_version: the version of a write of the partition: more than that of every write before, and below 2^53.
-- log (hash): `last`, the newest version; `primary`, the run id of the Redis that gave it. It is the
-- microseconds of Redis's clock, but always more than the last. Another primary than gave the last one, or one
-- that knows of none, may lack the newest: less than a million of them, by a clock that is ahead by less than a
-- minute. So it leaves these out. The minute is not added to the last one, or each restart would move the
-- versions further ahead of the clock, and a Redis that has lost all would give some again.
local function next_version(log, run_id, now_us)
  local known = redis.call('HMGET', log, 'last', 'primary')
  local last = tonumber(known[1] or 0)
  if known[2] ~= run_id then
    last = math.max(last + 1000000, now_us + 60000000)
    redis.call('HSET', log, 'primary', run_id)
  end
  local version = math.max(last + 1, now_us)
  redis.call('HSET', log, 'last', string.format('%.0f', version))
  return version
end
