-- delete: deletes a board with its periods.
-- KEYS[1] board (hash)    KEYS[2 ..] scores (zset) and members (hash) of each period
-- ARGV[1 ..] starts of these periods, as the board has them
-- returns {1} if it was there, {0} if there is none; or {2, starts of its periods} if these are others
-- clock: none             expiry: nothing stays
local call = redis.call
local has = {}
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  if string.byte(field) == 112 then  -- p
    has[#has + 1] = string.sub(field, 2)
  end
end
local newest = call('HGET', KEYS[1], 'newest')
if not newest then
  return {0}
end
has[#has + 1] = newest
local named = {}
for _, start in ipairs(ARGV) do
  named[start] = true
end
for _, start in ipairs(has) do
  if not named[start] then
    return {2, unpack(has)}
  end
end
call('UNLINK', unpack(KEYS))
return {1}
