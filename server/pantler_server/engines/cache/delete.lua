-- delete: remove one entry.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- returns 1 if the entry was readable, 0 if there was none or it was hidden;
--   error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: none                     expiry: KEYS[1] is gone, KEYS[2] unchanged
local entry, marks = KEYS[1], KEYS[2]

local header = redis.call('GETRANGE', entry, 0, 19)
if header == '' then
  return 0
end
if string.byte(header, 1) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end
redis.call('UNLINK', entry)
if string.sub(header, 13, 20) == redis.call('HGET', marks, 'generation') then
  return 1
end
return 0
