-- is_fresh: whether a Get that accepts no stale entry would give an entry, by its header.
-- include functions/cover.lua
local function is_fresh(header, entry, state, labels, now_us)
  return string.sub(header, 13, 20) == string.sub(state, 1, 8)
    and struct.unpack('<I8', header, 37) > now_us
    and cover(header, entry, state, labels) == 0
end
