-- clean_index: take keys from an index whose entries are still as they were when they did not belong there.
-- KEYS[1] index (zset)            KEYS[2..] entries (strings)
-- ARGV[1..] for each entry: its key, and how it began ('' if it was not there)
-- returns how many it took
-- clock: none                     expiry: KEYS[1] keeps its own
local taken = 0
for i = 2, #KEYS do
  local key, seen = ARGV[2 * i - 3], ARGV[2 * i - 2]
  local now = redis.pcall('GETRANGE', KEYS[i], 0, math.max(0, #seen - 1))
  if now == seen then
    taken = taken + redis.call('ZREM', KEYS[1], key)
  end
end
return taken
