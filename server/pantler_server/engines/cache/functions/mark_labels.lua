-- mark_labels: notes that tags or dependencies were invalidated, in their marks (zset) of a partition.
-- Member: kind and name, 'T' tag and 'D' dependency, lower case if SOFT (marks.py); its score is the
-- sequence of its newest invalidation. Member '' is the floor: the newest sequence that was forgotten
-- here; an entry with labels that nobody has checked since is hidden. The zset counts only while the
-- state tells of a mark: what a lost generation left is of no use; if it is gone, everything with
-- labels is hidden. No expiry: eviction can't take it.
-- The members are the events of its history too (tell.lua).
-- include functions/note.lua
-- include functions/tell.lua
-- include functions/trim_marks.lua
local function mark_labels(marks, state, labels, history, now_us, keep_us, members)
  local seq = math.max(struct.unpack('<I8', state, 9) + 1, now_us)
  local text = string.format('%.0f', seq)
  if #state < 88 or struct.unpack('<I8', state, 81) == 0 then
    redis.call('DEL', labels)
    redis.call('ZADD', labels, 0, '')
  elseif not redis.call('ZSCORE', labels, '') then
    redis.call('ZADD', labels, text, '')
  end
  for _, member in ipairs(members) do
    redis.call('ZADD', labels, text, member)
    local soft = string.lower(string.sub(member, 1, 1)) .. string.sub(member, 2)
    if soft ~= member then
      redis.call('ZREM', labels, soft)
    end
  end
  trim_marks(labels, now_us, keep_us, math.max(256, #members))
  tell(marks, history, state, now_us, members)
  return note(marks, state, seq, 80, struct.pack('<I8', seq))
end
