-- claim: make a worker the owner of a log for a while, unless another is; that one is told instead.
-- KEYS[1] owner of the log (string)   KEYS[2] its state (hash)
-- ARGV[1] channel of the worker       ARGV[2] for how long (ms)
-- ARGV[3] what to tell another owner
-- ARGV[4] epoch in which the worker owned it last, '' if it did not: nobody else did since if this is
--   still the newest, and it goes on in it
-- ARGV[5] deployment that the worker is of: the log keeps the one of its first owner
-- returns {epoch, where the batches end that the origin may have (begin_batch.lua), deployment}, 0 if
--   another owns it
-- clock: redis TIME                   expiry: KEYS[1] ARGV[2]; KEYS[2] never
local owner, state = KEYS[1], KEYS[2]

local now = redis.call('GET', owner)
if now and now ~= ARGV[1] then
  redis.pcall('PUBLISH', now, ARGV[3])
  return 0
end
redis.call('UNLINK', owner)  -- what frees memory comes first: a full Redis takes the rest then, too
local found = redis.call('HMGET', state, 'epoch', 'begun', 'deployment')
local epoch = tonumber(found[1]) or 0
if not found[1] or found[1] ~= ARGV[4] then
  -- A Redis that has lost the newest epochs gives no lower one: time has passed since them.
  local time = redis.call('TIME')
  epoch = math.max(epoch + 1, time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', state, 'epoch', string.format('%.0f', epoch))
end
redis.call('SET', owner, ARGV[1], 'PX', ARGV[2])
if not found[3] then
  redis.call('HSET', state, 'deployment', ARGV[5])
end
return {epoch, found[2] or '', found[3] or ARGV[5]}
