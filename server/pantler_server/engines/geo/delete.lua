-- delete: delete a set of places, and nothing of another kind.
-- KEYS[1] set (zset)
-- returns 1 if there was one, else 0; error WRONGTYPE if KEYS[1] holds anything else
-- clock: none          expiry: KEYS[1] never
redis.call('ZCARD', KEYS[1])  -- raises WRONGTYPE
return redis.call('UNLINK', KEYS[1])
