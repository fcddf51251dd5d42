-- remember: writes down the first answer to a request id, as answered.lua reads it, for 10 minutes.
local function remember(key, fingerprint, answer)
  redis.call('SET', key, fingerprint .. cmsgpack.pack(answer), 'PX', 600000)
end
