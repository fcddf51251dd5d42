-- warm_note: note how far a worker is with the warming at the start, or that this has ended.
-- KEYS[1] the warming (hash, as warm_claim.lua has it)
-- ARGV[1] worker                          ARGV[2] for how long it has it from now on (ms)
-- ARGV[3] digest of the list of keys      ARGV[4] for how long that is kept (ms)
-- ARGV[5] position                        ARGV[6] '1' if it has ended, else ''
-- returns 1, 0 if another worker has taken it over
-- clock: redis TIME                       expiry: KEYS[1] ARGV[4]
local who = redis.call('HGET', KEYS[1], 'who')
if who and who ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local till_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
redis.call('HSET', KEYS[1], 'who', ARGV[1], 'until', till_ms, 'list', ARGV[3], 'position', ARGV[5])
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], 'ended', 1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
