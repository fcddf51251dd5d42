-- fixed_window: up to `limit` permits in each window.
-- key (string): the end of the window (us) and what was taken in it.
-- from, to: the window (us) where it is one of the calendar; otherwise 0, and windows begin at multiples of
--   their length. nil if the clock is outside of it.
-- Source: the plain counter; the windows are those of the Unix epoch, so that all machines agree.
-- Error: none within a window; two windows that meet may have 2 * limit within the length of one.
-- Expiry: 1 s after the window.
local function fixed_window(key, now, action, cost, limit, window, from, to)
  local finish, count = 0, 0
  local state = redis.call('GET', key)
  if state then
    finish, count = struct.unpack('<I8I8', state)
  end
  if finish <= now then  -- else it is that window, also if the clock has stepped back
    count = 0
    if to == 0 then
      finish = now - now % window + window
    elseif now < from or now >= to then
      return nil
    else
      finish = to
    end
  end
  local allowed = count + cost <= limit
  if action == 'refund' then
    count = math.max(0, count - cost)
  elseif action == 'take' and allowed then
    count = count + cost
  end
  if action ~= 'peek' and (allowed or action == 'refund') then
    local keep_ms = math.ceil((finish - now) / 1000) + 1000
    redis.call('SET', key, struct.pack('<I8I8', finish, count), 'PX', keep_ms)
  end
  local left_us = finish - now
  return allowed, math.max(0, limit - count), allowed and 0 or left_us, count > 0 and left_us or 0
end
