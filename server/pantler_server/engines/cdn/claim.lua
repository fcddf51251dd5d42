-- claim: make a worker the one that sends to a target, or keep it so for a while; and what it is to know.
-- KEYS[1] owner (string)              KEYS[2] what waits (stream)      KEYS[3] state of the target (hash)
-- ARGV[1] channel of the worker       ARGV[2] for how long it owns (ms)
-- ARGV[3] id after which to read of what waits
-- ARGV[4] about how much of it, by weight
-- returns {1, the time (Unix ms), how many wait, when the oldest was asked for (Unix ms, 0 if none waits),
--   failures in a row, for how long the target is left alone (ms), the fingerprint of the configuration with
--   which it failed ('' if it did not), {id, fields …} of what waits, 1 if there may be more};
--   {0, for how long another owns it (ms)}
-- clock: redis TIME                   expiry: KEYS[1] ARGV[2]; the others none
local call = redis.call
local owner, queue, state = KEYS[1], KEYS[2], KEYS[3]
local MOST_AT_ONCE = 4  -- entries: what they weigh is known when they are read

local who = call('GET', owner)
if who and who ~= ARGV[1] then
  return {0, call('PTTL', owner)}
end
call('UNLINK', owner)  -- what frees memory comes first: a full Redis takes the rest then, too
call('SET', owner, ARGV[1], 'PX', ARGV[2])

local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = call('XRANGE', queue, '-', '+', 'COUNT', 1)[1]
local found, after, room, more, count = {}, ARGV[3], tonumber(ARGV[4]), 0, 1
while room > 0 do
  local page, heaviest = call('XRANGE', queue, '(' .. after, '+', 'COUNT', count), 1
  for _, one in ipairs(page) do
    local weight = tonumber(one[2][14])
    found[#found + 1], room, heaviest = one, room - weight, math.max(heaviest, weight)
  end
  if #page < count then
    break
  end
  after, more = page[#page][1], room <= 0 and 1 or 0
  count = math.max(1, math.min(MOST_AT_ONCE, math.floor(room / heaviest)))
end
local told = call('HMGET', state, 'failures', 'until', 'config')
return {1, string.format('%.0f', now_ms), call('XLEN', queue), oldest and oldest[2][6] or '0',
  tonumber(told[1] or 0), math.max(0, tonumber(told[2] or 0) - now_ms), told[3] or '', found, more}
