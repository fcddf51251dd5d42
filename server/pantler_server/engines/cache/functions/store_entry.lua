-- store_entry: writes an entry whose fill begins now, and tells those who watch; its lease is the caller's
-- affair. Returns its expiry (Unix us).
-- head, rest: as ARGV[1], ARGV[2] of set.lua; name: in the tombstones.
local function store_entry(entry, marks, tombstones, history, state, now_us, head, rest, ttl_us, keep_ms, name)
  local expires_us = now_us + ttl_us
  local times = struct.pack('<I8I8', now_us, expires_us)
  redis.call('SET', entry, head .. string.sub(state, 1, 16) .. times .. rest, 'PX', keep_ms)
  if #state >= 104 then
    -- include functions/tell_write.lua
    tell_write(marks, history, state, now_us, entry)
  end
  if keep_ms < 60000 then  -- as a Set that is kept so shortly
    -- include functions/bury.lua
    bury(marks, state, tombstones, now_us, 's' .. name)
  end
  return expires_us
end
