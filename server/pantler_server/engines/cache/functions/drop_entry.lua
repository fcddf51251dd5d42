-- drop_entry: removes an entry whose record has changed at the origin, ends its lease, and remembers that, so
-- that no older fill brings it back. `name` is what the tombstones call the key (bury.lua).
-- include functions/void_lease.lua
-- include functions/bury.lua
-- include functions/tell.lua
local function drop_entry(entry, marks, tombstones, lease, history, now_us, name)
  redis.call('UNLINK', entry)
  void_lease(lease)
  local state = redis.call('HGET', marks, 'state')
  if not state then
    return  -- no fill of a partition without marks is taken
  end
  bury(marks, state, tombstones, now_us, 'd' .. name)
  if #state >= 104 then
    -- bury has numbered it: the state is another by now, and what tell reads of it is the same.
    tell(marks, history, state, now_us, {'K' .. string.sub(entry, string.find(entry, '}', 1, true) + 3)})
  end
end
