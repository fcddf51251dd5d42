-- set: store one entry, over what was there, unless a condition, a fill token or its lease forbids.
-- KEYS[1] entry (string)          KEYS[2] marks of its partition (hash)
-- KEYS[3] tombstones (zset)       KEYS[4] lease of the key (hash)      KEYS[5] history (stream)
-- where ARGV[6] is there: KEYS[6] marks of labels (zset); then the answer to the request id (string), if
--   ARGV[8] is not ''; then the indexes (zsets) of its tags and of its dependencies, where they are kept
-- ARGV[1] header (entry.py) up to the version: 12 bytes
-- ARGV[2] header from the ttl on, and the value
-- ARGV[3] ttl (us)                ARGV[4] time to keep it: ttl and grace (ms, at least 1)
-- ARGV[5] generation (8 random bytes), for a partition that has none
-- ARGV[6] and the rest are left out where none of them is needed:
-- ARGV[6] condition: '' none, 'absent', 'present', or the version (8 bytes) that must be there,
--   each of an entry that a read would give as fresh
-- ARGV[7] name in the tombstones  ARGV[8] fingerprint of the request (16 bytes), '' without its id
-- ARGV[9] key, for the indexes  ARGV[10] how many of the indexes are of tags
-- ARGV[11] how much longer than the entry a dependency is kept in its index (us)
-- ARGV[12..16] a fill token: generation, sequence, version of the entry that was there and lease id
--   (each '' if there was none), time of issue (Unix us)
-- returns expiry (Unix us) if it stored the entry and reads give it, else {outcome, expiry, version (8
--   bytes)}, whose last two tell of what was stored, by the first request with this id; outcome 1
--   stored, 2 condition not met, 3 fill lost, 4 the request id had another request, 5 stored, but hidden
--   or stale, since it was invalidated meanwhile;
--   error WRONGTYPE if KEYS[1] holds anything but an entry
-- clock: redis TIME               expiry: KEYS[1] ARGV[4], KEYS[5] and the answer 10 min, the indexes with
--   their last member; KEYS[2], KEYS[3], KEYS[6] never
-- The common Set must be fast: a number as reply costs 1 us less than a table, and a function is
-- made only in the branch that needs it.
local call = redis.call
local entry, marks, tombstones, lease, labels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local condition, name = ARGV[6], ARGV[7]
local STORED, CONDITION_NOT_MET, FILL_LOST, REQUEST_ID_REUSED, STORED_HIDDEN = 1, 2, 3, 4, 5
local answered = condition and ARGV[8] ~= '' and KEYS[7]

if answered then
  local first = call('GET', answered)
  if first then
    if string.sub(first, 1, 16) ~= ARGV[8] then
      return {REQUEST_ID_REUSED, 0, ''}
    end
    local outcome, expires_us = struct.unpack('<BI8', first, 17)
    return {outcome, expires_us, string.sub(first, 26)}
  end
end

local header = call('GETRANGE', entry, 0, 51)
if header ~= '' and string.byte(header) ~= 193 then
  return redis.error_reply('WRONGTYPE not an entry')
end
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local state = call('HGET', marks, 'state')
if not state then
  -- include functions/new_partition.lua
  state = new_partition(marks, tombstones, ARGV[5])
end

local outcome, stamp, created_us = STORED, state, now_us
if ARGV[12] then
  local generation, seq, version = ARGV[12], tonumber(ARGV[13]), ARGV[14]
  local lease_id, issued_us = ARGV[15], tonumber(ARGV[16])
  if generation ~= string.sub(state, 1, 8)
    or (header ~= '' and string.sub(header, 5, 12) ~= version)
    or (#state >= 88 and seq < struct.unpack('<I8', state, 73)) then  -- the floor for fills
    outcome = FILL_LOST
  elseif lease_id ~= '' then  -- all that may happen to the key ends its lease
    if call('HGET', lease, 'id') ~= lease_id then
      outcome = FILL_LOST
    end
  else
    local events = call('ZMSCORE', tombstones, '', 'd' .. name, 's' .. name, 'i' .. name, 'c' .. name)
    if not events[1] then  -- lost, and nobody knows what happened until now
      events[1] = struct.unpack('<I8', state, 9)
      call('ZADD', tombstones, string.format('%.0f', events[1]), '')
    end
    for i = 1, 5 do
      if events[i] and tonumber(events[i]) > seq then
        outcome = FILL_LOST
      end
    end
    if math.abs(now_us - issued_us) > 60000000 then
      outcome = FILL_LOST
    end
  end
  stamp, created_us = string.sub(state, 1, 8) .. struct.pack('<I8', seq), issued_us
end
if outcome == STORED and condition and condition ~= '' then
  -- include functions/is_fresh.lua
  local fresh = header ~= '' and is_fresh(header, entry, state, labels, now_us)
  if fresh ~= (condition ~= 'absent')
    or (#condition == 8 and string.sub(header, 5, 12) ~= condition) then
    outcome = CONDITION_NOT_MET
  end
end

local expires_us = 0
if outcome == STORED then
  expires_us = now_us + ARGV[3]
  if #stamp > 16 then
    stamp = string.sub(stamp, 1, 16)
  end
  local times = struct.pack('<I8I8', created_us, expires_us)
  call('SET', entry, ARGV[1] .. stamp .. times .. ARGV[2], 'PX', ARGV[4])
  if #state > 16 and struct.unpack('<I8', state, 17) > now_us then
    -- include functions/void_lease.lua
    void_lease(lease)
  end
  if #state >= 104 then
    -- include functions/tell_write.lua
    tell_write(marks, KEYS[5], state, now_us, entry)
  end
  if name then
    if tonumber(ARGV[4]) < 60000 then
      -- include functions/bury.lua
      bury(marks, state, tombstones, now_us, 's' .. name)
    end
    if ARGV[9] ~= '' then
      -- include functions/index.lua
      local until_us = now_us + ARGV[4] * 1000
      index(answered and 8 or 7, tonumber(ARGV[10]), ARGV[9], now_us, until_us, until_us + ARGV[11])
    end
    if ARGV[12] then
      -- include functions/cover.lua
      if cover(ARGV[1] .. stamp .. times, entry, state, labels) > 0 then
        outcome = STORED_HIDDEN
      end
    end
  end
end
if answered then
  local version = string.sub(ARGV[1], 5, 12)
  call('SET', answered, ARGV[8] .. struct.pack('<BI8', outcome, expires_us) .. version, 'PX', 600000)
end
if outcome ~= STORED then
  return {outcome, expires_us, string.sub(ARGV[1], 5, 12)}
end
return expires_us
