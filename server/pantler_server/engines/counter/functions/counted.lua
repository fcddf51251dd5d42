-- counted: the number in a counter, nil if there is none, false if the place holds anything else. Raises what
-- else Redis fails with: a user without the right to GET, say.
local function counted(key)
  local text = redis.pcall('GET', key)
  if type(text) == 'table' then  -- an error
    if not string.match(text.err, '^WRONGTYPE') then
      error(text)
    end
    return false
  end
  if not text then
    return nil
  end
  if text ~= '0' and not string.match(text, '^%-?[1-9]%d*$') then
    return false
  end
  local number = tonumber(text)
  return math.abs(number) < 9007199254740992 and number  -- 2^53
end
