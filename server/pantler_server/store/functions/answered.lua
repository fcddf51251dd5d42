-- answered: the first answer to a request id, if there was one: a string of the request's fingerprint (8
-- bytes) and the answer (MessagePack). {2} if that was to another request.
local function answered(key, fingerprint)
  local first = redis.call('GET', key)
  if not first then
    return nil
  end
  if string.sub(first, 1, 8) ~= fingerprint then
    return {2}
  end
  return cmsgpack.unpack(string.sub(first, 9))
end
