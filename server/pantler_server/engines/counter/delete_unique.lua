-- delete_unique: delete sets of uniques, and nothing of another kind.
-- KEYS[1..n] sets (HyperLogLogs)
-- returns for each 1 if there was one, else 0; if one of KEYS holds anything else, its index, and nothing is
--   deleted
-- clock: none   expiry: none is set
for index, set in ipairs(KEYS) do
  local kind = redis.call('TYPE', set).ok
  if kind ~= 'none' and (kind ~= 'string' or redis.call('GETRANGE', set, 0, 3) ~= 'HYLL') then
    return index
  end
end
local deleted = {}
for index, set in ipairs(KEYS) do
  deleted[index] = redis.call('UNLINK', set)
end
return deleted
