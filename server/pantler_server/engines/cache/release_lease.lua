-- release_lease: give a lease back without a fill.
-- KEYS[1] entry (string)          KEYS[2] lease (hash)          KEYS[3] failure (string)
-- ARGV[1] lease id (8 bytes)      ARGV[2] how long to remember that the fetch failed (ms), 0 if not
-- returns 1, 0 if the lease is another's or gone
-- clock: none                     expiry: KEYS[2] is gone, KEYS[3] ARGV[2]
local entry, lease, failure = KEYS[1], KEYS[2], KEYS[3]

if redis.call('HGET', lease, 'id') ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '0' then
  local version = redis.call('GETRANGE', entry, 4, 11)
  if version ~= '' then
    redis.call('SET', failure, version, 'PX', ARGV[2])
  end
end
-- include functions/void_lease.lua
void_lease(lease)
return 1
