-- note: numbers an event that concerns more than one key, and writes into the state what it says.
-- `at` is where in the state, after how many bytes; marks.py has its layout. Returns the new state.
local function note(marks, state, seq, at, said)
  local padded = state .. string.rep('\0', 88 - #state)
  state = string.sub(padded, 1, 8) .. struct.pack('<I8', seq) .. string.sub(padded, 17, at)
    .. said .. string.sub(padded, at + #said + 1)
  redis.call('HSET', marks, 'state', state)
  return state
end
