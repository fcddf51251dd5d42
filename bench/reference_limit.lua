-- reference_limit: the least that a limit of two numbers does: read two fields of a small hash, and set them.
-- KEYS[1] state (hash)
-- ARGV[1] level                   ARGV[2] time
-- returns 1
-- clock: none                     expiry: none, it is only measured
redis.call('HMGET', KEYS[1], 'level', 'time')
redis.call('HSET', KEYS[1], 'level', ARGV[1], 'time', ARGV[2])
return 1
