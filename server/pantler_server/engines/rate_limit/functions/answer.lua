-- answer: what a check came to, packed: allowed (0|1, 1 byte), remaining, retry_after_us, reset_after_us (8 bytes
-- each, signed, little-endian), and the slot. A table of these would take Redis as long as the algorithm.
local function answer(allowed, remaining, retry_us, reset_us, slot)
  return struct.pack('<Bi8i8i8', allowed and 1 or 0, remaining, retry_us, reset_us) .. slot
end
