-- warm_claim: give a worker the warming at the start, unless another has it or it has ended.
-- KEYS[1] the warming (hash: `who` warms `until` when (Unix ms), unless it is noted again; `list`,
--   a digest of which keys; `position`, how far it is; `ended`)
-- ARGV[1] worker                          ARGV[2] for how long it has it (ms)
-- ARGV[3] digest of the list of keys      ARGV[4] for how long that is kept (ms)
-- returns its position, '' for the beginning; 0 if another worker has it, 1 if it has ended
-- clock: redis TIME                       expiry: KEYS[1] ARGV[4]; kept where nothing is changed
local found = redis.call('HMGET', KEYS[1], 'who', 'until', 'list', 'position', 'ended')
local who, list, position, ended = found[1], found[3], found[4], found[5]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if who and who ~= ARGV[1] and tonumber(found[2]) > now_ms and not ended then
  return 0
end
if list ~= ARGV[3] then  -- the configuration has changed: what was done is of no use
  redis.call('DEL', KEYS[1])
  position = ''
elseif ended then
  return 1
end
local till_ms = string.format('%.0f', now_ms + ARGV[2])
redis.call('HSET', KEYS[1], 'who', ARGV[1], 'until', till_ms, 'list', ARGV[3], 'position', position)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return position
