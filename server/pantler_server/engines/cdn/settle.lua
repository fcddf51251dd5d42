-- settle: forget what a target has purged or refused, and note that in the receipts.
-- KEYS[1] what waits (stream)         KEYS[2] state of the target (hash)
-- KEYS[3..] receipt of each entry (hash)
-- ARGV[1] name of the target          ARGV[2] for how long to keep receipts (ms)
-- ARGV[3..] for each entry: its id; whose it is (id of the purge); why it failed, '' if it is done; up to
--   which id it came in the place of others, '' if it did not; its weight
-- returns the numbers in KEYS of the receipts that are over now and have failed, or are there no more
-- clock: redis TIME                   expiry: KEYS[3..] ARGV[2] if they are there; the others none
local call = redis.call
local queue, state, name = KEYS[1], KEYS[2], ARGV[1]
local DONE, FAILED = 2, 3

local time = call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local failed, freed = {}, 0
for n = 3, #KEYS do
  local receipt, at = KEYS[n], 5 * n - 12
  local id, purge_id, why, upto = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local waits = call('XRANGE', queue, id, id)[1]
  -- Else that was settled before, or replaced by another, or this is not the Redis that it was read of.
  if waits and waits[2][2] == purge_id then
    call('XDEL', queue, id)
    freed = freed + ARGV[at + 4]
    if upto ~= '' and why == '' then
      call('HSET', state, 'done', upto, 'done_ms', now_ms)
    elseif upto ~= '' then
      call('HSET', state, 'failed', upto, 'failed_ms', now_ms, 'failed_error', why)
    end
    if call('EXISTS', receipt) == 1 then
      if why ~= '' then
        call('HSET', receipt, 'error:' .. name, why, 'refused:' .. name, '1')
      end
      local left = call('HGET', receipt, 'left:' .. name)
      if left then
        left = call('HINCRBY', receipt, 'left:' .. name, -1)
      end
      if not left or left <= 0 then
        local refused = call('HGET', receipt, 'refused:' .. name)
        call('HINCRBY', receipt, 'attempts:' .. name, 1)  -- of the whole: parts go together
        call('HSET', receipt, 'state:' .. name, refused and FAILED or DONE, 'end:' .. name, now_ms)
        if refused then
          failed[#failed + 1] = n
        end
      end
      call('PEXPIRE', receipt, ARGV[2])
    elseif why ~= '' then  -- it waited longer than its receipt is kept: the log tells of it
      failed[#failed + 1] = n
    end
  end
end
if freed > 0 and call('HINCRBY', state, 'weight', -freed) < 0 then  -- the sum was lost, say
  call('HSET', state, 'weight', 0)
end
return failed
