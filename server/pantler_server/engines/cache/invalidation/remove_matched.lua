-- remove_matched: remove entries whose fills began before the floor that was set for them.
-- KEYS[1..] entries (strings)     ARGV[1] sequence of the floor
-- returns how many it removed
-- clock: none                     expiry: what is removed is gone, the rest keeps its own
local floor, doomed = tonumber(ARGV[1]), {}
for _, entry in ipairs(KEYS) do
  local header = redis.pcall('GETRANGE', entry, 0, 27)
  if type(header) == 'string' and string.byte(header) == 193 and #header == 28
    and struct.unpack('<I8', header, 21) < floor then
    doomed[#doomed + 1] = entry
  end
end
return #doomed > 0 and redis.call('UNLINK', unpack(doomed)) or 0
