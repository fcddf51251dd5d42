-- index: notes a key in indexes, from KEYS[first] on: zsets whose members are the keys of the partition
-- that have a label, and whose scores (Unix us) are until when. The first `tags` of them are of tags,
-- the others of dependencies. They expire with their last member; a key may be there whose entry has
-- gone or lost the label: who reads looks at the entry.
local function index(first, tags, key, now_us, tag_until_us, dependency_until_us)
  for i = first, #KEYS do
    local until_us = i < first + tags and tag_until_us or dependency_until_us
    local over = redis.call('ZRANGE', KEYS[i], '-inf', now_us, 'BYSCORE', 'LIMIT', 0, 8)
    if #over > 0 then  -- a few at each step, so that none takes long
      redis.call('ZREM', KEYS[i], unpack(over))
    end
    redis.call('ZADD', KEYS[i], 'GT', string.format('%.0f', until_us), key)
    local until_ms = string.format('%.0f', math.ceil(until_us / 1000))
    if redis.call('PEXPIREAT', KEYS[i], until_ms, 'NX') == 0 then
      redis.call('PEXPIREAT', KEYS[i], until_ms, 'GT')
    end
  end
end
