-- own: make a worker the owner of a partition for a while, unless another is.
-- KEYS[1] owner (string)          ARGV[1] worker                  ARGV[2] for how long (ms)
-- returns 1, 0 if another owns it
-- clock: none                     expiry: KEYS[1] ARGV[2]
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
