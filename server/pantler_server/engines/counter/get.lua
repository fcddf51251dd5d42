-- get: read counters.
-- KEYS[1..n] counters (strings)
-- returns for each what is in it, or false if there is none; if one of KEYS is no string, its index
-- clock: none   expiry: none is set
local values = redis.call('MGET', unpack(KEYS))
for index, value in ipairs(values) do
  -- MGET takes what is no string for what is not there.
  if not value and redis.call('TYPE', KEYS[index]).ok ~= 'none' then
    return index
  end
end
return values
