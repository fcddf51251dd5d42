-- remove: take members out of a set of places, and say which were in it.
-- KEYS[1] set (zset)   ARGV[1..n] members
-- returns 1 for each member that was in the set, 0 for others, in their order
-- clock: none          expiry: KEYS[1] never; it is gone with its last member
local removed = {}
for index, member in ipairs(ARGV) do
  removed[index] = redis.call('ZREM', KEYS[1], member)
end
return removed
