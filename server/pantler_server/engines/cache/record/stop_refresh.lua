-- stop_refresh: note that what was loaded until now is not to be refreshed ahead any more.
-- KEYS[1..] notes (strings), of a key each or of a partition
-- ARGV[1] how long what is cached may live on (ms)
-- returns 1
-- clock: redis TIME               expiry: ARGV[1]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
for _, note in ipairs(KEYS) do
  redis.call('SET', note, now, 'PX', ARGV[1])
end
return 1
