-- reset: forgets what a subject has taken.
-- KEYS[1] state of a rule and a subject
-- ARGV[1] channel that is told: what workers remember of the subject holds no more
-- returns 1
-- clock: none                      expiry: none left
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[1], KEYS[1])
return 1
