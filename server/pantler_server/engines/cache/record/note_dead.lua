-- note_dead: write down, as the owner of a log, which of its writes are dead, or that they are not.
-- KEYS[1] dead writes (hash)          KEYS[2] state of the log (hash)
-- ARGV[1] epoch of the owner
-- ARGV[2..] of each write its version (text), and what is known of it (dead_writes.py), '' if it is not dead
-- returns 1, 0 if another has owned the log since, and nothing was done
-- clock: redis TIME                   expiry: none has one
local dead, state = KEYS[1], KEYS[2]

if redis.call('HGET', state, 'epoch') ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local when = struct.pack('<I8', time[1] * 1000000 + time[2])
for i = 2, #ARGV, 2 do
  redis.call('HDEL', dead, ARGV[i])  -- what frees memory comes first: a full Redis takes the rest then, too
  if ARGV[i + 1] ~= '' then
    redis.call('HSET', dead, ARGV[i], when .. ARGV[i + 1])
  end
end
return 1
