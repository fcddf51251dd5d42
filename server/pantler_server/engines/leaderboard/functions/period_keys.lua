-- period_keys: which of two periods it is by Redis's clock, by the starts (us) of this one and of the next, and the end
-- of the next, in one string: its start, its scores and members, and its end. Start and end are 0 where there are no
-- periods; nil and Redis's time if it is neither. The keys of this one are the second and third, those of the next
-- follow. Redis may have evicted one of the two, if the period is over: what is left of it is of no use then.
local function period_keys(numbers)
  local start, boundary, finish = struct.unpack('<I8I8I8', numbers)
  local at, ends = 2, boundary
  if boundary > 0 then
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    if now < start or now >= finish then
      return nil, now
    end
    if now >= boundary then
      start, at, ends = boundary, 4, finish
    end
  end
  local scores, members = KEYS[at], KEYS[at + 1]
  if redis.call('EXISTS', scores, members) == 1 then
    redis.call('UNLINK', scores, members)
  end
  return start, scores, members, ends
end
