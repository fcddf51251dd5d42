-- reference: the least that a Set beside marks does: read two fields of a small hash, and SET.
-- KEYS[1] entry (string)          KEYS[2] marks (hash)
-- ARGV[1] value                   ARGV[2] time to keep it (ms)
-- returns 1
-- clock: none                     expiry: KEYS[1] ARGV[2]
redis.call('HMGET', KEYS[2], 'generation', 'seq')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
