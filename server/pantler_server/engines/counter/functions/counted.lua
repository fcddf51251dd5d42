-- counted: the number in a counter, nil if there is none, false if the place holds anything else.
local function counted(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return nil
  end
  local text = kind == 'string' and redis.call('GET', key) or ''
  if text ~= '0' and not string.match(text, '^%-?[1-9]%d*$') then
    return false
  end
  local number = tonumber(text)
  return math.abs(number) < 9007199254740992 and number  -- 2^53
end
