-- trim_tombstones: forgets up to 256 tombstones (bury.lua) that are older than any fill token, or too
-- many. Returns how many it forgot.
-- include functions/trim.lua
local function trim_tombstones(tombstones, now_us)
  local MAX_FILL_US = 60000000  -- a fill token lives this long, so a tombstone must
  local MAX_TOMBSTONES = 10000  -- about 1.2 MB; past it the oldest become part of the floor
  return trim(tombstones, now_us - MAX_FILL_US, MAX_TOMBSTONES, 256)
end
