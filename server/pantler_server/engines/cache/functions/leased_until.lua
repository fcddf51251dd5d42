-- leased_until: notes in the marks until when a lease of the partition may last, so that a Set looks
-- for one only where there may be one. 10 s at a time, to write it seldom.
local function leased_until(marks, state, until_us)
  if #state < 24 or struct.unpack('<I8', state, 17) < until_us then
    redis.call('HSET', marks, 'state',
      string.sub(state, 1, 16) .. struct.pack('<I8', until_us + 10000000) .. string.sub(state, 25))
  end
end
