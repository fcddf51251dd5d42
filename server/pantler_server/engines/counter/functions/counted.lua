-- counted: the number in a counter, nil if there is none, false if the place holds anything else.
local function counted(key)
  local text = redis.pcall('GET', key)  -- an error, which is a table, if it is no string
  if not text then
    return nil
  end
  if text ~= '0' and (type(text) == 'table' or not string.match(text, '^%-?[1-9]%d*$')) then
    return false
  end
  local number = tonumber(text)
  return math.abs(number) < 9007199254740992 and number  -- 2^53
end
