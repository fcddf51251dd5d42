-- tell: writes events into the history of a partition, for those who watch (watch/history.py has their
-- form). While nobody does, or did within the last 10 minutes (watch/follow.lua), it does nothing.
-- history (stream): its ids are the numbers of the events. The field `events` of the marks counts them on,
-- so that whatever is missing shows as such: trimmed, evicted, or refused (pcall).
local function tell(marks, history, state, now_us, events)
  if #state < 104 or struct.unpack('<I8', state, 89) < now_us then
    return
  end
  local before = redis.call('HINCRBY', marks, 'events', #events) - #events
  for i, event in ipairs(events) do
    local id = string.format('%.0f-0', before + i)
    redis.pcall('XADD', history, 'MAXLEN', '~', 10000, id, 'e', event)
  end
  redis.call('PEXPIRE', history, 600000)
end
