-- lease_holds: whether a fill with the lease of this stamp is still taken: not if the marks were lost
-- since, nor if it began before the floor for fills.
local function lease_holds(stamp, state)
  return state and string.sub(stamp, 1, 8) == string.sub(state, 1, 8)
    and (#state < 88 or struct.unpack('<I8', stamp, 9) >= struct.unpack('<I8', state, 73))
end
