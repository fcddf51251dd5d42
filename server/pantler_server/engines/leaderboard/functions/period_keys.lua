-- period_keys: scores and members of the period that is read or written, of the keys from the second on: those of
-- the period that begins at `start` come first. Its start, the keys, and its end; nil and Redis's time if the clock is
-- in neither. Redis may have evicted one of the two, if the period is over: what is left of it is of no use then.
-- include functions/period.lua
local function period_keys(numbers)
  local start, finish = period(numbers)
  if start == nil then
    return nil, finish
  end
  local at = start == struct.unpack('<I8', numbers) and 2 or 4
  local scores, members = KEYS[at], KEYS[at + 1]
  if redis.call('EXISTS', scores, members) == 1 then
    redis.call('UNLINK', scores, members)
  end
  return start, scores, members, finish
end
