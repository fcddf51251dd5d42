-- epoch: the newest sequence of a namespace, and its gap: the number with which the epoch of this primary
-- began, which no message has. Another primary than wrote last, or one that has lost the counts, begins a new
-- one, above all that was given before: the former may have given numbers that this one has not heard of, less
-- than a million a second, and Redis's clock (us) is above those.
local function epoch(counts, history, primary)
  local found = redis.call('HMGET', counts, 'sequence', 'gap', 'primary')
  if found[3] == primary then
    return tonumber(found[1]), tonumber(found[2])
  end
  local time = redis.call('TIME')
  local gap = math.max((tonumber(found[1]) or 0) + 1, time[1] * 1000000 + time[2])
  local text = string.format('%.0f', gap)
  redis.call('HSET', counts, 'sequence', text, 'gap', text, 'primary', primary)
  if not found[1] and redis.call('TYPE', history).ok == 'stream' then
    redis.call('UNLINK', history)  -- of its numbers nothing is known
  end
  return gap, gap
end
