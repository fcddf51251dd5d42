-- top: the keys that were read most in the last 5 minutes. O(n log n) for the up to 5,000 that are counted.
-- KEYS[1..8] reads by minute (zsets, hot_keys/keys.py)    ARGV[1] how many to give at most
-- returns {over how many seconds (text), key, how often it was read then (text), …}, most read first
-- clock: redis TIME       expiry: none is set
-- include functions/last_minutes.lua
local time = redis.call('TIME')
local minutes, window_s = last_minutes(time[1] + time[2] / 1000000)
local top = {tostring(window_s)}
if #minutes == 0 then
  return top
end
local union = {'ZUNION', #minutes}
for _, minute in ipairs(minutes) do
  union[#union + 1] = minute
end
union[#union + 1] = 'WITHSCORES'
local ascending = redis.call(unpack(union))
for i = #ascending - 1, math.max(1, #ascending + 1 - 2 * ARGV[1]), -2 do
  top[#top + 1] = ascending[i]
  top[#top + 1] = ascending[i + 1]
end
return top
