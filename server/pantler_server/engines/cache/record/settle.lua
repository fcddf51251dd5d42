-- settle: forget writes of a log that the origin has had.
-- KEYS[1] log (stream)                KEYS[2] pending records (hash)   KEYS[3] state of the log (hash)
-- KEYS[4] dead writes (hash)          KEYS[5] marks of the partition (hash)
-- KEYS[6] tombstones (zset)           KEYS[7] history (stream)
-- KEYS[8..] entry (string) and lease (hash) of each write that came to 'x', 'd' or 's'
-- ARGV[1] version up to which the log is done with, '' to leave it as it is
-- ARGV[2] how many arguments the next are
-- ARGV[3..] for each write: key, its version (text), and what it came to: 'w' it is done; 'x' that too, and the
--   entry lacks a part of it; 'd' it is dead; 's' an earlier owner saw to it
-- then, for each but 'w', its name in the tombstones
-- returns how many records still wait
-- clock: redis TIME                   expiry: KEYS[7] 10 min; the others never
local log, pending, state, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local marks, tombstones, history = KEYS[5], KEYS[6], KEYS[7]

-- include functions/drop_entry.lua
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local any_dead = redis.call('HLEN', dead) > 0
local all, done = {}, {}
for i = 3, 2 + ARGV[2], 3 do
  all[#all + 1] = ARGV[i]
end
local newest = #all > 0 and redis.call('HMGET', pending, unpack(all)) or {}
local place, name = 8, 3 + ARGV[2]
for i, key in ipairs(all) do
  local version, came_to = ARGV[3 * i + 1], ARGV[3 * i + 2]
  if newest[i] and struct.unpack('<I8', newest[i]) <= tonumber(version) then
    done[#done + 1] = key
  end
  if came_to ~= 'w' then
    drop_entry(KEYS[place], marks, tombstones, KEYS[place + 1], history, now_us, ARGV[name])
    place, name = place + 2, name + 1
  end
  if any_dead and (came_to == 'w' or came_to == 'x') then
    redis.call('HDEL', dead, version)  -- of an attempt that did not end, and whose cause has gone
  end
end
if #done > 0 then
  redis.call('HDEL', pending, unpack(done))
end
if ARGV[1] ~= '' then
  redis.call('XTRIM', log, 'MINID', string.format('%.0f', ARGV[1] + 1) .. '-0')
  redis.call('HDEL', state, 'error')
  if tonumber(redis.call('HGET', state, 'last') or 0) < tonumber(ARGV[1]) then
    redis.call('HSET', state, 'last', ARGV[1])  -- a memory older than the origin's gives no number again
  end
end
return redis.call('HLEN', pending)
