-- sliding_window_counter: up to `limit` permits in a window, by estimate: those of this bucket, and of the
-- bucket before as many as would be in the window if they had come evenly.
-- key (string): the beginning of the newest bucket (us), what was taken in the one before, and in it.
-- Source: "How we built rate limiting capable of scaling to millions of domains", Cloudflare, 2017.
-- Error: right to two permits if those of the bucket before came evenly. In no bucket more than `limit`; within
--   the length of a window less than 2 * limit. What came early in the bucket before counts for too long.
--   Beyond 2^53 for limit * window (us) sums are rounded, by one part in 10^15.
-- Expiry: 1 s after nothing counts any more, at most 2 windows.
local function sliding_window_counter(key, now, action, cost, limit, window)
  local start, before, count = now - now % window, 0, 0
  local state = redis.call('GET', key)
  if state then
    local at, older, newer = struct.unpack('<I8I8I8', state)
    if at >= start then  -- later: the clock has stepped back
      start, before, count = at, older, newer
    elseif at == start - window then
      before = newer
    end
  end
  local left = window - math.max(0, now - start)  -- the share of the bucket before, in us of the window
  local free = limit - cost
  local allowed = before * left <= (free - count) * window
  local retry_us = 0
  if not allowed and action ~= 'refund' then
    local at
    if count <= free then  -- once enough of the bucket before has left the window
      at = start + math.ceil(window - (free - count) * window / before)
      if before * (window - (at - start)) > (free - count) * window then  -- rounded down, beyond 2^53
        at = at + 1
      end
    else  -- once enough of this one has
      at = start + window + math.max(0, math.ceil(window - free * window / count))
      if count * (2 * window - (at - start)) > free * window then
        at = at + 1
      end
    end
    retry_us = at - now
  end
  if action == 'refund' then
    count = count - cost
    before = math.max(0, before + math.min(0, count))
    count = math.max(0, count)
  elseif action == 'take' and allowed then
    count = count + cost
  end
  local reset_us = 0
  if count > 0 then
    reset_us = start + 2 * window - now
  elseif before > 0 then
    reset_us = start + window - now
  end
  if action ~= 'peek' and (allowed or action == 'refund') then
    local keep_ms = math.ceil(reset_us / 1000) + 1000
    redis.call('SET', key, struct.pack('<I8I8I8', start, before, count), 'PX', keep_ms)
  end
  local remaining = math.floor(((limit - count) * window - before * left) / window)
  return allowed, math.max(0, remaining), retry_us, reset_us
end
