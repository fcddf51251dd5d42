-- reset: delete counters, and say what they had come to.
-- KEYS[1..n] counters (strings)
-- returns for each its digits, or false if there was none; if one of KEYS is no counter, its index, and
--   nothing is deleted
-- clock: none   expiry: none is set
-- include functions/counted.lua

for index, counter in ipairs(KEYS) do
  if counted(counter) == false then
    return index
  end
end
local values = {}
for index, counter in ipairs(KEYS) do
  values[index] = redis.call('GETDEL', counter)
end
return values
