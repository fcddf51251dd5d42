-- append: note a write of a record in the log, as the record that it makes, and in the cache.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash)      KEYS[5] marks of labels (zset)
-- KEYS[6] history (stream)        KEYS[7] log (stream)                 KEYS[8] pending records (hash)
-- KEYS[9] state of the log (hash) KEYS[10] dead writes (hash)          KEYS[11] owner of the log (string)
-- KEYS[12] answer to the request id (string), where there is one
-- ARGV[1] key                     ARGV[2] its name in the tombstones
-- ARGV[3] operation (core/record.py)   ARGV[4] fields of the write (JSON)
-- ARGV[5] record as it will be (JSON), '' if it will be gone
-- ARGV[6] '1' if only the origin knows the whole of it, else ''
-- ARGV[7] header (entry.py) up to the version: 4 bytes
-- ARGV[8] header from the ttl on  ARGV[9] ttl (us), 0 to keep no entry
-- ARGV[10] time to keep it (ms)   ARGV[11] generation (8 random bytes), for a partition without
-- ARGV[12] run id of the primary (8 bytes)
-- ARGV[13] how many writes may wait or be dead in this log
-- ARGV[14] how many are a batch   ARGV[15] what to tell the owner when there is another
-- ARGV[16] what the caller has seen: '' it did not look; 'p' and the version (8 bytes) of the pending
--   record; 'e' and that of the entry, where nothing was pending; 'n' neither
-- ARGV[17] after how many bytes of the record its version stands, 16 digits to be replaced; '' if it has none
-- ARGV[18] fingerprint of the request (8 bytes), where KEYS[12] is there
-- returns {1, version, whether there was a record (1 no, 2 yes, 0 only the origin knows; told of a
--   DELETE), how many wait, 0 if it is a repeat}; {2} if the request id had another request; {3} if as many wait as may;
--   {4} if the record is not as it was seen, and nothing was done; as 1, but 5, for a repeat of a write that went
--   through to the origin, when the namespace did that;
--   error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] ARGV[10], KEYS[6] and KEYS[12] 10 min; the others never
local call = redis.call
local entry, marks, tombstones, lease, labels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local log, pending, log_state = KEYS[7], KEYS[8], KEYS[9]
local key, operation, seen, ttl_us = ARGV[1], ARGV[3], ARGV[16], tonumber(ARGV[9])
local NOTED, FULL, CHANGED, WRITTEN, DELETE = 1, 3, 4, 5, '4'

if KEYS[12] then
  -- include functions/answered.lua
  local first = answered(KEYS[12], ARGV[18])
  if first then
    if first[1] == 2 then
      return {2}
    end
    return {first[3] and NOTED or WRITTEN, tonumber(first[1]), tonumber(first[2]), 0}
  end
end
local header = call('GETRANGE', entry, 0, 51)
if header ~= '' and string.byte(header) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end
local waiting = call('XLEN', log)
if waiting + call('HLEN', KEYS[10]) >= tonumber(ARGV[13]) then
  return {FULL}
end
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = call('HGET', marks, 'state')

local before, existed = false, 0
if seen ~= '' or operation == DELETE then
  before = call('HGET', pending, key)
  -- include functions/is_fresh.lua
  local fresh = not before and header ~= '' and state and is_fresh(header, entry, state, labels, now_us)
  if seen ~= '' then
    local there = before and 'p' .. string.sub(before, 1, 8) or fresh and 'e' .. string.sub(header, 5, 12)
    if seen ~= (there or 'n') then
      return {CHANGED}
    end
  elseif before then
    existed = #before > 8 and 2 or 1
  elseif fresh then
    existed = call('STRLEN', entry) > struct.unpack('<I2', header, 3) and 2 or 1
  end
end

if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[11])
end
-- include functions/next_version.lua
local version = next_version(log_state, ARGV[12], now_us)
local id, packed = string.format('%.0f', version), struct.pack('<I8', version)
local record = ARGV[5]
if ARGV[17] ~= '' then
  record = string.sub(record, 1, ARGV[17]) .. id .. string.sub(record, ARGV[17] + 17)
end
call('XADD', log, id .. '-0', 'k', key, 'o', operation, 'f', ARGV[4],
  't', string.format('%.0f', now_us), 'x', ARGV[6])
call('HSET', pending, key, packed .. record)
waiting = waiting + 1

if ttl_us > 0 then
  if #state > 16 and struct.unpack('<I8', state, 17) > now_us then
    -- include functions/void_lease.lua
    void_lease(lease)
  end
  -- include functions/store_entry.lua
  store_entry(entry, marks, tombstones, KEYS[6], state, now_us, ARGV[7] .. packed, ARGV[8] .. record,
    ttl_us, tonumber(ARGV[10]), ARGV[2])
else
  -- include functions/drop_entry.lua
  drop_entry(entry, marks, tombstones, lease, KEYS[6], now_us, ARGV[2])
end
if waiting % ARGV[14] == 0 then
  local owner = call('GET', KEYS[11])
  if owner then
    redis.pcall('PUBLISH', owner, ARGV[15])  -- pcall: it looks by itself as well
  end
end
if KEYS[12] then
  -- include functions/remember.lua
  remember(KEYS[12], ARGV[18], {id, tostring(existed), 'queued'})  -- as finish.lua does, but for the last
end
return {NOTED, version, existed, waiting}
