-- index: notes a key in indexes, from KEYS[first] on: zsets whose members are the keys of the partition
-- that have a label, and whose scores (Unix us) are until when. The first `tags` of them are of tags,
-- the others of dependencies. They expire some time after their last member, so that few calls move
-- that; a key may be there whose entry has gone or lost the label: who reads looks at the entry.
-- A Set may have 128 labels: so one of 16 frees what is over.
local function index(first, tags, key, now_us, tag_until_us, dependency_until_us)
  for i = first, #KEYS do
    local until_us = i < first + tags and tag_until_us or dependency_until_us
    redis.call('ZADD', KEYS[i], 'GT', string.format('%.0f', until_us), key)
    if redis.call('PEXPIRETIME', KEYS[i]) * 1000 < until_us then
      local later_ms = math.ceil((until_us + (until_us - now_us) / 8) / 1000)
      redis.call('PEXPIREAT', KEYS[i], string.format('%.0f', later_ms))
    end
    if (now_us + i) % 16 == 0 then
      local over = redis.call('ZRANGE', KEYS[i], '-inf', now_us, 'BYSCORE', 'LIMIT', 0, 256)
      if #over > 0 then
        redis.call('ZREM', KEYS[i], unpack(over))
      end
    end
  end
end
