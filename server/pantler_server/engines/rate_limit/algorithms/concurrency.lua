-- concurrency: up to `limit` permits are held at once, each slot for as long as a window unless it is
-- renewed or released.
-- key (zset): the slots, by the time (us) at which they expire; each ends in '.' and its cost. Member '' has
--   the permits that all of them hold, negative, as its score: so a look costs O(log n), not a walk.
-- slot: the slot that is taken ('take'), released ('refund': allowed says whether it was held) or renewed
--   ('renew', likewise).
-- Source: a counting semaphore whose permits are leases.
-- Error: none; a holder that goes on after its slot has expired is one too many.
-- Expiry: 1 s after the last slot.
local function concurrency(key, now, action, cost, limit, window, _, _, slot)
  local call = redis.call
  local function cost_of(member)
    return tonumber(string.match(member, '%d+$'))
  end
  local held = -tonumber(call('ZSCORE', key, '') or 0)
  local expired = call('ZRANGE', key, 1, now, 'BYSCORE')
  for _, member in ipairs(expired) do
    held = held - cost_of(member)
  end
  local allowed
  if action == 'refund' or action == 'renew' then
    local until_us = call('ZSCORE', key, slot)
    allowed = until_us ~= false and tonumber(until_us) > now
  else
    allowed = held + cost <= limit
  end
  if allowed and action ~= 'peek' then
    if #expired > 0 then
      call('ZREMRANGEBYSCORE', key, 1, now)
    end
    if action == 'refund' then
      call('ZREM', key, slot)
      held = held - cost_of(slot)
    else
      call('ZADD', key, string.format('%.0f', now + window), slot)
      held = action == 'take' and held + cost or held
    end
    call('ZADD', key, -held, '')
    call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
  end
  local retry_us, reset_us = 0, 0
  if not allowed and (action == 'take' or action == 'peek') then
    local missing = held + cost - limit
    local after = string.format('(%.0f', now)
    local next_ones = call('ZRANGE', key, after, '+inf', 'BYSCORE', 'LIMIT', 0, missing, 'WITHSCORES')
    for i = 1, #next_ones, 2 do
      missing = missing - cost_of(next_ones[i])
      retry_us = next_ones[i + 1] - now
      if missing <= 0 then
        break
      end
    end
  end
  if held > 0 then
    reset_us = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] - now
  end
  return allowed, math.max(0, limit - held), retry_us, reset_us
end
