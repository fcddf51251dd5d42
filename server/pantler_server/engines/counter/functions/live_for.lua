-- live_for: the expiry of what was just written: in `ttl_ms` if that is given; else what is new gets
-- `new_ttl_ms`, if that is given, and what was there keeps its own.
local function live_for(key, was_there, ttl_ms, new_ttl_ms)
  if ttl_ms == '0' and not was_there then
    ttl_ms = new_ttl_ms
  end
  if ttl_ms ~= '0' then
    redis.call('PEXPIRE', key, ttl_ms)
  end
end
