-- token_bucket: takes permits from a bucket that holds `burst` and gets `limit` in a window.
-- key (string): a time (us) and the level then, in permits * us of the window: so a us adds `limit`, and
--   all sums are whole numbers.
-- Source: the token bucket, as in RFC 2698 (one rate), counted when it is asked.
-- Error: none while burst * window (us) is below 2^53; beyond that one part in 10^15.
-- Expiry: 1 s after the bucket is full.
local function token_bucket(key, now, action, cost, limit, window, burst)
  local capacity = burst * window
  local level = capacity
  local state = redis.call('GET', key)
  if state then
    local at, then_level = struct.unpack('<I8d', state)
    if now < at then  -- the clock has stepped back: nothing comes in until it is there again
      now = at
    end
    level = then_level + (now - at) * limit
    if level > capacity then
      level = capacity
    end
  end
  local needed = cost * window
  local allowed = level >= needed
  local retry_us = allowed and 0 or math.ceil((needed - level) / limit)
  if action == 'refund' then
    level = math.min(capacity, level + needed)
  elseif action == 'take' and allowed then
    level = level - needed
  end
  local missing = capacity - level
  local part = missing % limit
  local reset_us = (missing - part) / limit
  if part > 0 then
    reset_us = reset_us + 1
  end
  if action ~= 'peek' and (allowed or action == 'refund') then
    redis.call('SET', key, struct.pack('<I8d', now, level), 'PX', math.ceil(reset_us / 1000) + 1000)
  end
  return allowed, (level - level % window) / window, retry_us, reset_us
end
