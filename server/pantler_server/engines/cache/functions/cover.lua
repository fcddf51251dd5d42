-- cover: what invalidations make of an entry of the present generation: 2 it is gone, 1 it is stale,
-- 0 nothing. marks.py says the same of what reads see.
local function cover(header, entry, state, labels)
  local flags, header_bytes = struct.unpack('<BI2', header, 2)
  local covered = flags >= 2 and 1 or 0  -- by its key
  if #state < 88 then
    return covered
  end
  local began, created = struct.unpack('<I8I8', header, 21)
  local hard, soft, hard_age, hard_before, soft_age, soft_before, _, newest =
    struct.unpack('<I8I8I8I8I8I8I8I8', state, 25)
  if began < hard or (began < hard_age and created < hard_before) then
    return 2
  end
  if began < soft or (began < soft_age and created < soft_before) then
    covered = 1
  end
  if header_bytes == 52 or began >= newest then
    return covered
  end
  local packed = redis.call('GETRANGE', entry, 52, header_bytes - 1)  -- as entry.py has it
  local checked = math.max(struct.unpack('<I8', packed), began)
  local at = 10 + string.byte(packed, 9)
  local members = {}
  for _, kinds in ipairs({{'T', 't'}, {'D', 'd'}}) do
    local count = string.byte(packed, at)
    at = at + 1
    for _ = 1, count do
      local size = struct.unpack('<I2', packed, at)
      local name = string.sub(packed, at + 2, at + 1 + size)
      at = at + 2 + size
      members[#members + 1] = kinds[1] .. name
      members[#members + 1] = kinds[2] .. name
    end
  end
  if #members == 0 then
    return covered
  end
  local scores = redis.call('ZMSCORE', labels, '', unpack(members))
  if not scores[1] or checked < tonumber(scores[1]) then
    return 2
  end
  for i = 2, #scores, 2 do
    if scores[i] and tonumber(scores[i]) > began then
      return 2
    end
    if scores[i + 1] and tonumber(scores[i + 1]) > began then
      covered = 1
    end
  end
  return covered
end
