-- append: put a purge into the outbox: its receipt, and for each target what waits for it.
-- If too much waits for a target, a purge of everything comes in the place of all that; if one can't do
-- that, the whole call is refused before anything is changed.
-- KEYS[1] receipt (hash)
-- KEYS[2..] for each target: what waits (stream), its state (hash), its owner (string)
-- KEYS[last] answer to the request id (string), where there is one
-- ARGV[1] id of the purge             ARGV[2] how many targets there are
-- ARGV[3] in how many parts it is     ARGV[4] how much may wait for a target, by weight
-- ARGV[5] for how long nobody may send it (ms)    ARGV[6] '1' if it is soft, else ''
-- ARGV[7] for how long to keep the receipt (ms)   ARGV[8] the part that is everything   ARGV[9] its weight
-- ARGV[10..] for each target its name, and '1' if it can purge everything, else ''; then for each part the
--   part (JSON, scripts.py) and its weight; then the fingerprint of the request (8 bytes), where there is
--   an answer
-- returns {id of the purge, '1' if it was there before by its request id else '', {names of the targets
--   that nobody owns}}; {2} if the request id had another request; {3, name of a target for which too much
--   waits, and which can't purge everything}
-- clock: redis TIME   expiry: KEYS[1] ARGV[7], the answer 10 min; the others none
local call = redis.call
local receipt, purge_id, targets, parts = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local answer = KEYS[2 + 3 * targets]
local FIRST_NAME, FIRST_PART = 10, 10 + 2 * targets
local LAST_PART = FIRST_PART + 2 * (parts - 1)
local fingerprint = ARGV[LAST_PART + 2]

local function text(number)
  return string.format('%.0f', number)
end

if answer then
  -- include functions/answered.lua
  local first = answered(answer, fingerprint)
  if first and first[1] == 2 then
    return {2}
  elseif first and first[1] ~= purge_id then
    return {first[1], '1', {}}
  end
end
if call('EXISTS', receipt) == 1 then  -- the same call again, since its reply was lost
  return {purge_id, '', {}}
end

local adds = 0
for part = FIRST_PART, LAST_PART, 2 do
  adds = adds + ARGV[part + 1]
end
local weights = {}  -- of what will wait for each target; none: too much
for n = 1, targets do
  local queue, state, at = KEYS[3 * n - 1], KEYS[3 * n], FIRST_NAME + 2 * (n - 1)
  local waits = 0  -- an empty queue weighs nothing, whatever became of the sum
  if call('XLEN', queue) > 0 then
    waits = tonumber(call('HGET', state, 'weight') or 0)
  end
  if waits + adds <= tonumber(ARGV[4]) then
    weights[n] = waits + adds
  elseif ARGV[at + 1] == '' then
    return {3, ARGV[at]}
  end
end

local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local due_ms = now_ms + 1 + ARGV[5]  -- 1 for the part of a millisecond: rather late than early

local told, names, unowned = {'created', text(now_ms)}, {}, {}
for n = 1, targets do
  local queue, state, owner = KEYS[3 * n - 1], KEYS[3 * n], KEYS[3 * n + 1]
  local name, id = ARGV[FIRST_NAME + 2 * (n - 1)], nil
  if not weights[n] then
    local newest = call('XREVRANGE', queue, '+', '-', 'COUNT', 1)[1]
    call('XTRIM', queue, 'MAXLEN', 0)
    -- As late as what it replaces was due: a first level must not fill the CDN from before that.
    local latest = math.max(due_ms, tonumber(call('HGET', state, 'latest') or 0))
    id = call('XADD', queue, '*', 'p', purge_id, 'd', text(latest), 'a', text(now_ms), 's', '',
      'v', ARGV[8], 'c', newest and newest[1] or '', 'w', ARGV[9])
  else
    for part = FIRST_PART, LAST_PART, 2 do
      id = call('XADD', queue, '*', 'p', purge_id, 'd', text(due_ms), 'a', text(now_ms), 's', ARGV[6],
        'v', ARGV[part], 'c', '', 'w', ARGV[part + 1])
    end
    if parts > 1 then
      told[#told + 1], told[#told + 2] = 'left:' .. name, parts
    end
  end
  call('HSET', state, 'weight', weights[n] and text(weights[n]) or ARGV[9])
  if ARGV[5] ~= '0' and due_ms > tonumber(call('HGET', state, 'latest') or 0) then
    call('HSET', state, 'latest', text(due_ms))
  end
  names[n] = name
  told[#told + 1], told[#told + 2] = 'id:' .. name, id
  local who = call('GET', owner)
  if who then
    redis.pcall('PUBLISH', who, name)  -- pcall: it looks by itself as well
  else
    unowned[#unowned + 1] = name
  end
end
call('HSET', receipt, 'targets', table.concat(names, '\n'), unpack(told))
call('PEXPIRE', receipt, ARGV[7])
if answer then
  -- include functions/remember.lua
  remember(answer, fingerprint, {purge_id})
end
return {purge_id, '', unowned}
