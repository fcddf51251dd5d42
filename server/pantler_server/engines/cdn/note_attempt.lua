-- note_attempt: note that a target failed, or that it serves again, and leave it alone for a while.
-- KEYS[1] state of the target (hash)  KEYS[2..] receipts of what was tried (hash)
-- ARGV[1] name of the target          ARGV[2] for how long to keep receipts (ms)
-- ARGV[3] failures in a row           ARGV[4] for how long it is left alone (ms)
-- ARGV[5] what it answered            ARGV[6] fingerprint of its configuration
-- returns 1
-- clock: redis TIME                   expiry: KEYS[2..] ARGV[2] if they are there; KEYS[1] none
local call = redis.call
local state, name = KEYS[1], ARGV[1]

if ARGV[3] == '0' then
  call('HDEL', state, 'failures', 'until', 'answer', 'config')
else
  local time = call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  call('HSET', state, 'failures', ARGV[3], 'until', string.format('%.0f', now_ms + ARGV[4]),
    'answer', ARGV[5], 'config', ARGV[6])
end
for n = 2, #KEYS do
  if call('EXISTS', KEYS[n]) == 1 then
    call('HINCRBY', KEYS[n], 'attempts:' .. name, 1)
    call('HSET', KEYS[n], 'error:' .. name, ARGV[5])
    call('PEXPIRE', KEYS[n], ARGV[2])
  end
end
return 1
