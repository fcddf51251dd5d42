-- concurrency: up to `limit` permits are held at once, each slot for as long as a window unless it is
-- renewed or released.
-- key (zset): the slots, by the time (us) at which they expire; each ends in '.' and its cost. Member '' has
--   the permits that all of them hold, negative, as its score: so a look costs O(log n), not a walk. Those that
--   have expired are passed over as far as it takes, AT_ONCE in a step and MOST in a call: what is left is for the
--   next call, which is to come at once.
-- slot: the slot that is taken ('take'), released ('release': allowed says whether it was held) or renewed
--   ('renew', likewise). A refund gives back what was taken first, from up to AT_ONCE slots: it is for those who
--   can't say which is theirs.
-- Source: a counting semaphore whose permits are leases.
-- Error: none; a holder that goes on after its slot has expired is one too many.
-- Expiry: 1 s after the last slot.
local function concurrency(key, now, action, cost, limit, window, _, _, slot)
  local AT_ONCE, MOST = 500, 5000  -- some 4 and 40 ms of Redis
  local call = redis.call
  local function cost_of(member)
    return tonumber(string.match(member, '%d+$'))
  end
  local held = -tonumber(call('ZSCORE', key, '') or 0)
  local passed = 0  -- slots that have expired
  local names = action == 'release' or action == 'renew'
  local expired
  repeat
    expired = call('ZRANGE', key, 1, now, 'BYSCORE', 'LIMIT', passed, AT_ONCE)
    for _, member in ipairs(expired) do
      held = held - cost_of(member)
    end
    passed = passed + #expired
  until #expired < AT_ONCE or passed >= MOST or names or held + cost <= limit
  local allowed
  if names then
    local until_us = call('ZSCORE', key, slot)
    allowed = until_us ~= false and tonumber(until_us) > now
  else
    allowed = held + cost <= limit or action == 'refund'
  end
  local retry_us, reset_us = 0, 0
  if not allowed and not names then
    if #expired == AT_ONCE then
      retry_us = 1
    else
      local missing = held + cost - limit
      local after = string.format('(%.0f', now)
      local most = math.min(missing, AT_ONCE)
      local ends = call('ZRANGE', key, after, '+inf', 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
      for i = 1, #ends, 2 do
        missing = missing - cost_of(ends[i])
        retry_us = ends[i + 1] - now
        if missing <= 0 then
          break
        end
      end
      if missing > 0 then  -- more than that must expire: once all have, it is enough
        retry_us = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] - now
      end
    end
  end
  if action ~= 'peek' and (allowed or passed > 0) then
    if passed > 0 then
      call('ZREMRANGEBYRANK', key, 1, passed)  -- '' is the first
    end
    if action == 'refund' then
      local rest = cost
      for _ = 1, AT_ONCE do
        local first = call('ZRANGE', key, 1, 1, 'WITHSCORES')
        if rest == 0 or not first[1] then
          break
        end
        local size = cost_of(first[1])
        local given = math.min(size, rest)
        call('ZREM', key, first[1])
        if size > given then
          local id = string.match(first[1], '^(.*%.)%d+$')
          call('ZADD', key, first[2], id .. string.format('%.0f', size - given))
        end
        held, rest = held - given, rest - given
      end
    elseif allowed and action == 'release' then
      call('ZREM', key, slot)
      held = held - cost_of(slot)
    elseif allowed then
      call('ZADD', key, string.format('%.0f', now + window), slot)
      held = action == 'take' and held + cost or held
    end
    call('ZADD', key, -held, '')
    local keep_ms = math.ceil(window / 1000) + 1000
    if call('PTTL', key) < keep_ms then  -- slots may have been taken for a longer window
      call('PEXPIRE', key, keep_ms)
    end
  end
  if held > 0 then
    reset_us = math.max(0, call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] - now)
  end
  return allowed, math.max(0, limit - held), retry_us, reset_us
end
