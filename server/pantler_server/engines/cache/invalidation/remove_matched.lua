-- remove_matched: remove entries whose fills began before the floor that was set for them.
-- KEYS[1..] entries (strings)     ARGV[1] sequence of the floor
-- returns how many it removed
-- clock: none                     expiry: what is removed is gone, the rest keeps its own
local floor, removed = tonumber(ARGV[1]), 0
for _, entry in ipairs(KEYS) do
  local header = redis.pcall('GETRANGE', entry, 0, 27)
  if type(header) == 'string' and string.byte(header) == 193 and #header == 28
    and struct.unpack('<I8', header, 21) < floor then
    removed = removed + redis.call('UNLINK', entry)
  end
end
return removed
