-- tell_write: writes into the history of a partition that an entry was written, where those who watch are
-- told so.
-- include functions/tell.lua
local function tell_write(marks, history, state, now_us, entry)
  if #state >= 104 and struct.unpack('<I8', state, 97) >= now_us then
    tell(marks, history, state, now_us, {'W' .. string.sub(entry, string.find(entry, '}', 1, true) + 3)})
  end
end
