-- void_lease: ends the lease of a key, if there is one, and tells the workers that wait for it.
-- lease (hash): id, holder, stamp (generation and sequence), issued_us, expires_us; and
-- '>' .. channel for each one to tell.
local function void_lease(lease)
  local fields = redis.call('HKEYS', lease)
  if #fields == 0 then
    return
  end
  redis.call('DEL', lease)
  for _, field in ipairs(fields) do
    if string.byte(field) == 62 then
      -- pcall: without the right to publish, who waits looks every 250 ms, and all else is done.
      redis.pcall('PUBLISH', string.sub(field, 2), lease)
    end
  end
end
