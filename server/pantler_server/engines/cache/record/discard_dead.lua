-- discard_dead: forget dead writes.
-- KEYS[1] dead writes (hash)          KEYS[2] log (stream)
-- ARGV[1..] of each write its version (text)
-- returns how many were dead, and are forgotten now
-- clock: none                         expiry: none has one
local gone = 0
for _, version in ipairs(ARGV) do
  -- While it is in the log, whoever drains that may still find that it is not dead.
  if #redis.call('XRANGE', KEYS[2], version, version) == 0 then
    gone = gone + redis.call('HDEL', KEYS[1], version)
  end
end
return gone
