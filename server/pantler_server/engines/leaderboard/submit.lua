-- submit: applies scores of members, all or none, and ranks these before and after it.
-- KEYS[1] board (hash)              KEYS[2] scores (zset), KEYS[3] members (hash), of this period
-- KEYS[4], KEYS[5] the same of the next period, where the board has periods
-- then the answer to the request id (string), where there is one
-- ARGV[1] starts of this and the next period, and the end of that (functions/period.lua)
-- ARGV[2] order of a new board: 'h' or 'l'    ARGV[3] policy: 'set', 'best' or 'increment'
-- ARGV[4] how many members are kept, 0: all    ARGV[5] fingerprint of the request (8 bytes), '' without an id
-- ARGV[2k + 4 ..] of entry k: member; score (8 bytes, little-endian double) and attributes (JSON, or nothing)
-- returns {1, start of the period, for each entry score (double), rank, rank before (4 bytes each) and whether the
--   score has changed (1 byte), in one string}; or {2} if the request id had another request, {3, now_us} if it is
--   neither period, {4, start, start of this} if the newest period is another, which has to be ended first
--   (turn.lua), {5, k} if entry k would make its score infinite
-- clock: redis TIME, for periods    expiry: none, or that of a period that has ended stays; the answer 10 min
local call, reply = redis.call, nil
local entries, bound = (#ARGV - 5) / 2, tonumber(ARGV[4])
local answer = ARGV[5] ~= '' and KEYS[#KEYS]
if answer then
  -- include functions/answered.lua
  reply = answered(answer, ARGV[5])
  if reply then
    return reply
  end
end

-- include functions/period_keys.lua
local start, scores, members = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
local order, newest = unpack(call('HMGET', KEYS[1], 'order', 'newest'))
local started = string.format('%.0f', start)
if newest and newest ~= started then
  return {4, newest, started}
end
local sign = (order or ARGV[2]) == 'h' and -1 or 1

-- What each member has, and what it will have: `was` is nil for one that is not on the board.
local names, states, listed = {}, {}, {}
for k = 1, entries do
  names[k] = ARGV[2 * k + 4]
end
for k, known in ipairs(call('HMGET', members, unpack(names))) do
  local name = names[k]
  if not states[name] then
    local state = {name = name, before = 0, attributes = ''}
    if known then
      state.was = struct.unpack('<d', known)
      state.score, state.attributes = state.was, string.sub(known, 15)
      state.number = string.sub(known, 9, 14)
      state.before = call('ZRANK', scores, state.number .. name) + 1
    end
    states[name] = state
    listed[#listed + 1] = state
  end
end

local reached = 0
for k, name in ipairs(names) do
  local state, given = states[name], ARGV[2 * k + 5]
  local score = struct.unpack('<d', given)
  local has = state.score
  local stands = true
  if has and ARGV[3] == 'increment' then
    score = has + score
    if score == math.huge or score == -math.huge then
      return {5, k}
    end
  elseif has and ARGV[3] == 'best' and score * sign > has * sign then
    stands = false
  end
  if stands then
    if score ~= has then
      reached = reached + 1
      state.score, state.reached = score, reached
    end
    if #given > 8 then
      state.attributes, state.described = string.sub(given, 9), true
    end
  end
end

if not newest then
  call('HSET', KEYS[1], 'order', ARGV[2], 'newest', started)
end
local numbered = reached > 0 and call('HINCRBY', KEYS[1], 'seq', reached) - reached
local gone, ranked, written = {}, {}, {}
for _, state in ipairs(listed) do
  if state.reached then
    if state.number then
      gone[#gone + 1] = state.number .. state.name
    end
    state.number = struct.pack('>I6', numbered + state.reached)
    ranked[#ranked + 1] = state.score * sign
    ranked[#ranked + 1] = state.number .. state.name
  end
  if state.reached or state.described then
    written[#written + 1] = state.name
    written[#written + 1] = struct.pack('<d', state.score) .. state.number .. state.attributes
  end
end
if #gone > 0 then
  call('ZREM', scores, unpack(gone))
end
if #ranked > 0 then
  call('ZADD', scores, unpack(ranked))
end
if #written > 0 then
  call('HSET', members, unpack(written))
end

-- A bound that was lowered is reached by and by: a script must not take long.
local over = bound > 0 and math.min(call('ZCARD', scores) - bound, entries + 1000) or 0
if over > 0 then
  local worst = call('ZRANGE', scores, -over, -1)
  for i, element in ipairs(worst) do
    worst[i] = string.sub(element, 7)
  end
  call('HDEL', members, unpack(worst))
  call('ZREMRANGEBYRANK', scores, -over, -1)
end

local packed = {}
for _, state in ipairs(listed) do
  local rank = call('ZRANK', scores, state.number .. state.name)
  local changed = (rank or state.was) and state.score ~= state.was and 1 or 0
  state.packed = struct.pack('<dI4I4B', state.score, rank and rank + 1 or 0, state.before, changed)
end
for k, name in ipairs(names) do
  packed[k] = states[name].packed
end
reply = {1, start, table.concat(packed)}
if answer then
  -- include functions/remember.lua
  remember(answer, ARGV[5], reply)
end
return reply
