-- period: which of two periods it is by Redis's clock: the starts (us) of this one and of the next, and the end of
-- the next, in one string. Its start and its end, 0 where there are no periods; nil and Redis's time if it is neither.
local function period(numbers)
  local start, boundary, finish = struct.unpack('<I8I8I8', numbers)
  if boundary == 0 then
    return start, 0
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  if now < start or now >= finish then
    return nil, now
  end
  if now < boundary then
    return start, boundary
  end
  return boundary, finish
end
