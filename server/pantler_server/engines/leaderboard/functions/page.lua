-- page: members by their places from `first` to `last`, the best at 0. For each a string: rank (4 bytes), length of
-- the member (2 bytes), the member, and what the hash has of it; all in one string. `shared`: those with the same
-- score share the rank of the first of them.
local function page(scores, members, first, last, shared)
  local range = redis.call('ZRANGE', scores, first, last, 'WITHSCORES')
  if #range == 0 then
    return ''
  end
  local names = {}
  for i = 1, #range, 2 do
    names[#names + 1] = string.sub(range[i], 7)
  end
  local known, packed, rank, score = redis.call('HMGET', members, unpack(names)), {}, nil, nil
  for i, name in ipairs(names) do
    local own = tonumber(range[2 * i])  -- there are two zeros
    if not shared then
      rank = first + i
    elseif i == 1 then
      rank = redis.call('ZCOUNT', scores, '-inf', '(' .. range[2 * i]) + 1
    elseif own ~= score then
      rank = first + i
    end
    score = own
    packed[i] = struct.pack('<I4I2', rank, #name) .. name .. struct.pack('<I4', #known[i]) .. known[i]
  end
  return table.concat(packed)
end
