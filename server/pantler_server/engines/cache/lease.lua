-- lease: give the lease of a key to a caller, unless another holds it.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash, functions/void_lease.lua)
-- KEYS[5] failure (string): version of the entry whose refresh failed
-- KEYS[6] fences of the key (zset, record/fence.lua), where writes go through to an origin
-- ARGV[1] version (8 bytes) of the entry that the caller read, '' if there was none
-- ARGV[2] lease id (8 random bytes)   ARGV[3] holder   ARGV[4] ttl (ms)
-- ARGV[5] channel to tell when it ends, '' for none
-- ARGV[6] generation (8 random bytes), for a partition that has none
-- ARGV[7] 1 if the caller is content with what it read should a fetch have failed lately: then it is
--   not given the lease, so that a source that is down is tried seldom; else 0
-- returns 0 if another entry is there now: read again; else
--   {granted (0 no, 1 now, 2 to this holder before), lease id, holder, generation and sequence (16
--    bytes), issued (Unix us, text), expiry (Unix us, text), failed 0|1}, the same again for the
--    holder; without a holder while a fence holds it back
-- clock: redis TIME               expiry: KEYS[4] ARGV[4]; KEYS[2], KEYS[3] never
local entry, marks, tombstones, lease, failure = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local seen, id, holder, ttl_ms, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local version = redis.call('GETRANGE', entry, 4, 11)
if version ~= seen then
  return 0
end
local failed = seen ~= '' and redis.call('GET', failure) == seen and 1 or 0
if failed == 1 and ARGV[7] == '1' then
  return {0, '', '', '', '0', '0', 1}
end
local state = redis.call('HGET', marks, 'state')
local held = redis.call('HMGET', lease, 'id', 'holder', 'stamp', 'issued_us', 'expires_us')
-- include functions/lease_holds.lua
if held[1] and lease_holds(held[3], state) then
  local granted = held[2] == holder and 2 or 0
  if channel ~= '' then
    redis.call('HSET', lease, '>' .. channel, '')
  end
  return {granted, held[1], held[2], held[3], held[4], held[5], failed}
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
if KEYS[6] then
  local fence = redis.call('ZRANGE', KEYS[6], -1, -1, 'WITHSCORES')
  local left_ms = fence[2] and fence[2] - math.floor(now_us / 1000) or 0
  if left_ms > 0 then  -- what is loaded now may be outdated before it is stored
    if channel ~= '' then
      redis.call('HSET', lease, '>' .. channel, '')
      redis.call('PEXPIRE', lease, left_ms)
    end
    return {0, '', '', '', '0', string.format('%.0f', now_us + left_ms * 1000), failed}
  end
end
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[6])
end
local stamp = string.sub(state, 1, 16)
local until_us = now_us + ttl_ms * 1000
-- include functions/leased_until.lua
leased_until(marks, state, until_us)
local issued, expires = string.format('%.0f', now_us), string.format('%.0f', until_us)
redis.call('HSET', lease, 'id', id, 'holder', holder, 'stamp', stamp,
  'issued_us', issued, 'expires_us', expires)
if channel ~= '' then
  redis.call('HSET', lease, '>' .. channel, '')
end
redis.call('PEXPIRE', lease, ttl_ms)
return {1, id, holder, stamp, issued, expires, failed}
