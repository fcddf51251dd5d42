-- last_minutes: of the reads by minute, KEYS[1] to KEYS[8], those of this minute and of the 4 before it,
-- as far as there are any; and over how many seconds that is: since the oldest of them began, at least
-- 60, so that what has just begun does not look busier than it is.
local function last_minutes(now_s)
  local minute, minutes, window_s = math.floor(now_s / 60), {}, 60
  for ago = 0, 4 do
    local reads = KEYS[1 + (minute - ago) % 8]
    if redis.call('EXISTS', reads) == 1 then
      minutes[#minutes + 1] = reads
      window_s = math.max(window_s, now_s - (minute - ago) * 60)
    end
  end
  return minutes, window_s
end
