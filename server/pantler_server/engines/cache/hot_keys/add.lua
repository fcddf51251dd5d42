-- add: adds what a worker has counted to the reads of this minute and of this day, and says what is hot.
-- KEYS[1..8] reads by minute (zsets, hot_keys/keys.py)    KEYS[9..12] reads by day (zsets)
-- ARGV[1] from how many reads a second on a key is hot
-- ARGV[2], ARGV[3] … of each key: how often it was read, and the key
-- returns the keys that are hot, 500 at most, in no order
-- clock: redis TIME
-- expiry: this minute's 6 min, this day's 48 h, from now on; the others keep theirs
-- include functions/last_minutes.lua
local call = redis.call
local MOST = 1000  -- members of a set; what was read least goes
local MOST_HOT = 500  -- to look so many up in 5 minutes takes about 2 ms

local time = call('TIME')
local now_s = time[1] + time[2] / 1000000

local function add(reads, ttl_ms)
  for i = 2, #ARGV, 2 do
    call('ZINCRBY', reads, ARGV[i], ARGV[i + 1])
  end
  call('ZREMRANGEBYRANK', reads, 0, -MOST - 1)
  call('PEXPIRE', reads, ttl_ms)
end

if #ARGV > 1 then
  add(KEYS[1 + math.floor(now_s / 60) % 8], 360000)
  add(KEYS[9 + math.floor(now_s / 86400) % 4], 172800000)
end

local minutes, window_s = last_minutes(now_s)
local wanted = ARGV[1] * window_s
-- Who has that much in all has its share of it in one minute at least: so few are looked up.
local candidates, known = {}, {}
for _, minute in ipairs(minutes) do
  local share = string.format('%.17g', wanted / #minutes)
  local left = MOST_HOT - #candidates
  for _, key in ipairs(call('ZRANGE', minute, '+inf', share, 'BYSCORE', 'REV', 'LIMIT', 0, left)) do
    if not known[key] then
      known[key] = true
      candidates[#candidates + 1] = key
    end
  end
end
if #candidates == 0 then
  return {}
end
local sums = {}
for _, minute in ipairs(minutes) do
  for i, reads in ipairs(call('ZMSCORE', minute, unpack(candidates))) do
    sums[i] = (sums[i] or 0) + (reads and tonumber(reads) or 0)
  end
end
local hot = {}
for i, key in ipairs(candidates) do
  if sums[i] >= wanted then
    hot[#hot + 1] = key
  end
end
return hot
