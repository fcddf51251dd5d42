-- sliding_window_log: up to `limit` permits in any window, exactly.
-- key (list): for each Acquire its time (us) and how many permits were taken up to it, in their order, so
--   that two at one time are two; the first is the newest that has left the window, or {0, 0}. What is in
--   the window is the difference of two of these sums, found by halving: O(log n) looks for n Acquires.
-- Source: the moving window log, with sums in it (as in a prefix sum) instead of a count of members.
-- Error: none.
-- Expiry: 1 s after the newest has left the window.
local function sliding_window_log(key, now, action, cost, limit, window)
  local call = redis.call
  local length = call('LLEN', key)
  local function at(index)
    return struct.unpack('<I8I8', call('LINDEX', key, index))
  end
  -- The first index after `low` that is as wanted, or the length; looks nearby first.
  local function first_after(low, is_wanted)
    local step = 1
    while low + step < length and not is_wanted(at(low + step)) do
      low = low + step
      step = step * 2
    end
    local high = math.min(low + step, length)
    while high - low > 1 do
      local middle = math.floor((low + high) / 2)
      if is_wanted(at(middle)) then high = middle else low = middle end
    end
    return high
  end

  local newest, total, base, gone = 0, 0, 0, 0
  if length > 0 then
    newest, total = at(-1)
    now = math.max(now, newest)  -- the clock has stepped back: the order of the list holds
    local horizon = now - window
    base = first_after(0, function(time) return time > horizon end) - 1
    local _
    _, gone = at(base)
  end
  local allowed = total - gone + cost <= limit
  local retry_us = 0
  if not allowed and action ~= 'refund' then
    local wanted = total + cost - limit
    local time = at(first_after(base, function(_, sum) return sum >= wanted end))
    retry_us = time + window - now
  end
  if action == 'take' and allowed then
    if length == 0 then
      call('RPUSH', key, struct.pack('<I8I8', 0, 0))
    elseif base > 0 then
      call('LTRIM', key, base, -1)
    end
    newest, total = now, total + cost
    call('RPUSH', key, struct.pack('<I8I8', newest, total))
    call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
  elseif action == 'refund' and total > gone then  -- from the newest on; they keep their expiry
    local rest = math.max(gone, total - cost)
    local index = first_after(base, function(_, sum) return sum > rest end)
    local time = at(index)
    local _, sum = at(index - 1)
    call('LTRIM', key, 0, index - 1)
    if sum < rest then
      call('RPUSH', key, struct.pack('<I8I8', time, rest))
    end
    newest, total = at(-1)
  end
  local taken = total - gone
  return allowed, math.max(0, limit - taken), retry_us, taken > 0 and newest + window - now or 0
end
