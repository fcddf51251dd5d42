-- fence: announce a write that goes through to the origin. Until it has ended, or can't take effect any more,
-- nobody may fill the cache with what the origin has; only a writer that was alone all the time may.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash)      KEYS[5] history (stream)
-- KEYS[6] fences of the key (zset)  KEYS[7] log (stream)               KEYS[8] state of the log (hash)
-- KEYS[9] answer to the request id (string), if there is one
-- ARGV[1] name in the tombstones  ARGV[2] generation (8 random bytes), for a partition without
-- ARGV[3] key                     ARGV[4] writer: 16 bytes of its request id, the
--   fingerprint of the request (8 bytes), 8 random bytes
-- ARGV[5] lease id (8 random bytes)   ARGV[6] how long the write may take effect (ms)
-- ARGV[7] run id of the primary (8 bytes)
-- returns {outcome, …}: 1 announced, then version, whether it is alone (0|1); 2 the request id had another
--   request; 3 earlier writes wait in the log; 4 a first call with this id is under way; 5 it was done, then
--   the first answer, and whether that write went into the log (0|1); error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[6] with its last fence; KEYS[4] ARGV[6]; KEYS[1] is gone; KEYS[5]
--   10 min; the others never
local entry, marks, tombstones, lease, fences = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local name, key, writer, id, fence_ms = ARGV[1], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)
-- Also those of other keys: what a dead write that is tried again will make of its record is not known.
local some_wait = redis.call('XLEN', KEYS[7]) > 0
if KEYS[9] then
  -- include functions/answered.lua
  local first = answered(KEYS[9], string.sub(writer, 17, 24))
  if first and first[1] == 2 then
    return {2}
  end
  if first and not (some_wait and first[3]) then
    return {5, first[1], first[2], first[3] and 1 or 0}
  end
end
if some_wait then
  return {3}
end
local header = redis.call('GETRANGE', entry, 0, 0)
if header ~= '' and string.byte(header) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end

-- First: a full Redis lets a script that frees something write on.
redis.call('UNLINK', entry)
redis.call('ZREM', fences, writer)  -- of this very call, if Redis is told twice
redis.call('ZREMRANGEBYSCORE', fences, '-inf', now_ms)
local others = redis.call('ZRANGE', fences, 0, -1)
if KEYS[9] then
  for _, other in ipairs(others) do
    if string.sub(other, 1, 16) == string.sub(writer, 1, 16) then
      return {string.sub(other, 17, 24) == string.sub(writer, 17, 24) and 4 or 2}
    end
  end
end
local alone = #others == 0 and 1 or 0
redis.call('ZADD', fences, now_ms + fence_ms, writer)
redis.call('PEXPIREAT', fences, redis.call('ZRANGE', fences, -1, -1, 'WITHSCORES')[2])

local state = redis.call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[2])
end
-- include functions/void_lease.lua
void_lease(lease)
-- include functions/bury.lua
bury(marks, state, tombstones, now_us, 'd' .. name)
if #state >= 104 then
  -- include functions/tell.lua
  tell(marks, KEYS[5], state, now_us, {'K' .. key})
end
if alone == 1 then
  state = redis.call('HGET', marks, 'state')
  local until_us = now_us + fence_ms * 1000
  -- include functions/leased_until.lua
  leased_until(marks, state, until_us)
  redis.call('HSET', lease, 'id', id, 'holder', '', 'stamp', string.sub(state, 1, 16),
    'issued_us', string.format('%.0f', now_us), 'expires_us', string.format('%.0f', until_us))
  redis.call('PEXPIRE', lease, fence_ms)
end
-- include functions/next_version.lua
return {1, next_version(KEYS[8], ARGV[7], now_us), alone}
