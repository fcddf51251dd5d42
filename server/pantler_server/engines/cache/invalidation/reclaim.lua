-- reclaim: remove entries that no read will ever give.
-- KEYS[1] marks of their partition (hash)     KEYS[2] marks of labels (zset)
-- KEYS[3..] entries (strings)
-- returns how many it removed
-- clock: none                     expiry: what is removed is gone, the rest keeps its own
local marks, labels = KEYS[1], KEYS[2]

local state = redis.call('HGET', marks, 'state')
-- include functions/cover.lua
local removed = 0
for i = 3, #KEYS do
  local header = redis.pcall('GETRANGE', KEYS[i], 0, 51)
  if type(header) == 'string' and string.byte(header) == 193 and #header == 52
    and (not state or string.sub(header, 13, 20) ~= string.sub(state, 1, 8)
      or cover(header, KEYS[i], state, labels) == 2) then
    removed = removed + redis.call('UNLINK', KEYS[i])
  end
end
return removed
