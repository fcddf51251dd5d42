-- begin: the newest sequence of a namespace and the gap of its epoch, which begins here if it has to.
-- KEYS[1] counts of the namespace (hash)    KEYS[2] history (stream)
-- ARGV[1] run id of the primary (8 bytes)
-- returns {sequence, gap}
-- clock: redis TIME                         expiry: none of KEYS[1]; KEYS[2] keeps its own
-- A write that a full Redis does not refuse, and what has begun to write is let write on.
redis.call('HDEL', KEYS[1], '')
-- include functions/epoch.lua
return {epoch(KEYS[1], KEYS[2], ARGV[1])}
