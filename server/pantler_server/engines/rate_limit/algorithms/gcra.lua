-- gcra: allows a permit if it does not come too early: `burst` of them may be ahead of an even spacing of
-- window / limit.
-- key (string): the theoretical arrival time of the next permit (us), and how many parts of a us, of `limit`,
--   are missing to it: so all sums are whole numbers.
-- Source: generic cell rate algorithm, ITU-T I.371 (virtual scheduling); burst - 1 spacings are its
--   tolerance.
-- Error: none while burst * window (us) is below 2^53; beyond that one part in 10^15.
-- Expiry: 1 s after the theoretical arrival time.
local function gcra(key, now, action, cost, limit, window, burst)
  local ahead = 0  -- how far that time is ahead, in us * limit: each permit adds a window
  local state = redis.call('GET', key)
  if state then
    local arrival, part = struct.unpack('<I8d', state)
    if part > limit then  -- of a greater limit, before the rule was changed
      part = limit
    end
    ahead = (arrival - now) * limit + part
    if ahead < 0 then
      ahead = 0
    end
  end
  local tolerated, added = burst * window, cost * window
  local allowed = ahead + added <= tolerated
  local retry_us = allowed and 0 or math.ceil((ahead + added - tolerated) / limit)
  if action == 'refund' then
    ahead = math.max(0, ahead - added)
  elseif action == 'take' and allowed then
    ahead = ahead + added
  end
  local part = ahead % limit
  local whole = (ahead - part) / limit
  local reset_us = part > 0 and whole + 1 or whole
  if action ~= 'peek' and (allowed or action == 'refund') then
    local next_arrival = struct.pack('<I8d', now + whole, part)
    redis.call('SET', key, next_arrival, 'PX', math.ceil(reset_us / 1000) + 1000)
  end
  local remaining = ahead < tolerated and math.floor((tolerated - ahead) / window) or 0
  return allowed, remaining, retry_us, reset_us
end
