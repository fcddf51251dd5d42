-- extend_lease: let a lease last from now on for another ttl, if it still holds.
-- KEYS[1] marks of the partition (hash)   KEYS[2] lease (hash)
-- ARGV[1] lease id (8 bytes)              ARGV[2] ttl (ms)
-- returns expiry (Unix us), 0 if the lease is another's, gone or void
-- clock: redis TIME                       expiry: KEYS[2] ARGV[2]; KEYS[1] never
local marks, lease, ttl_ms = KEYS[1], KEYS[2], ARGV[2]

local state = redis.call('HGET', marks, 'state')
local held = redis.call('HMGET', lease, 'id', 'stamp')
-- include functions/lease_holds.lua
if held[1] ~= ARGV[1] or not lease_holds(held[2], state) then
  return 0
end
local time = redis.call('TIME')
local until_us = time[1] * 1000000 + time[2] + ttl_ms * 1000
-- include functions/leased_until.lua
leased_until(marks, state, until_us)
redis.call('HSET', lease, 'expires_us', string.format('%.0f', until_us))
redis.call('PEXPIRE', lease, ttl_ms)
return until_us
