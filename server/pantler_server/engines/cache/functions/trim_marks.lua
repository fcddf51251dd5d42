-- trim_marks: forgets marks of labels (mark_labels.lua) that are older than any entry may be, or too
-- many, up to `at_once`. Returns how many it forgot.
-- include functions/trim.lua
local function trim_marks(labels, now_us, keep_us, at_once)
  local MAX_MARKS = 10000  -- about 1 MB; past it the oldest become part of the floor
  return trim(labels, now_us - keep_us, MAX_MARKS, at_once)
end
