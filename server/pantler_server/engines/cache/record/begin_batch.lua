-- begin_batch: write down, as the owner of a log, where the batches end that the origin may have from now on.
-- Who owns the log next sends the very same ones again.
-- KEYS[1] state of the log (hash)     KEYS[2] owner of the log (string)
-- ARGV[1] channel of the worker       ARGV[2] its epoch                ARGV[3] for how long it owns (ms)
-- ARGV[4] their ends ('VERSION VERSION …'), '' to leave that as it is
-- returns {the time (Unix us, text), the newest version (text)}, 0 if another has owned the log since, and
--   nothing was done
-- clock: redis TIME                   expiry: KEYS[2] ARGV[3]; KEYS[1] never
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then
  return 0
end
redis.call('UNLINK', KEYS[2])  -- what frees memory comes first: a full Redis takes the rest then, too
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'begun', ARGV[4])
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
local time = redis.call('TIME')
return {string.format('%.0f', time[1] * 1000000 + time[2]), redis.call('HGET', KEYS[1], 'last') or '0'}
