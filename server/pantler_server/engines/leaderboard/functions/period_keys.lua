-- period_keys: scores and members of the period that is read or written, of the keys from the second on: those of
-- the period that begins at `start` come first.
-- include functions/period.lua
local function period_keys(numbers)
  local start, now = period(numbers)
  if start == nil then
    return nil, now
  end
  local at = start == struct.unpack('<I8', numbers) and 2 or 4
  return start, KEYS[at], KEYS[at + 1]
end
