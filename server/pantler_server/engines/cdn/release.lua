-- release: give the ownership of a target back.
-- KEYS[1] owner (string)              ARGV[1] channel of the worker
-- returns 1, 0 if it was another's or nobody's
-- clock: none                         expiry: KEYS[1] is gone, or keeps its own
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('UNLINK', KEYS[1])
end
return 0
