-- submit: applies scores of members, all or none, and ranks these before and after it.
-- KEYS[1] board (hash)              KEYS[2] scores (zset), KEYS[3] members (hash), of this period
-- KEYS[4], KEYS[5] the same of the next period, where the board has periods
-- then the answer to the request id (string), where there is one
-- ARGV[1] starts of this and the next period, and the end of that (functions/period_keys.lua)
-- ARGV[2] order of a new board: 'h' or 'l'    ARGV[3] policy: 'set', 'best' or 'increment'
-- ARGV[4] how many members are kept, 0: all    ARGV[5] fingerprint of the request (8 bytes), '' without an id
-- ARGV[2k + 4 ..] of entry k: member; score (8 bytes, little-endian double) and attributes (JSON, or nothing)
-- returns {1, start and end of the period, for each entry score (double), rank, rank before (4 bytes each) and
--   whether the score has changed (1 byte), in one string}; or {2} if the request id had another request, {3, now_us} if it is
--   neither period, {4, start, start and end of this} if the newest period is another, which has to be
--   ended first (turn.lua), {5, k} if entry k would make its score infinite
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
local start, scores, members, finish = period_keys(ARGV[1])
if start == nil then
  return {3, scores}
end
local order, newest, ended = unpack(call('HMGET', KEYS[1], 'order', 'newest', 'ends'))
local started, ends = string.format('%.0f', start), string.format('%.0f', finish)
if newest and newest ~= started then
  return {4, newest, started, ends}
end
local sign = (order or ARGV[2]) == 'h' and -1 or 1

-- What each member has, and will have, by the place of its first entry. In arrays, since most of the time of this
-- script is Lua's: with a table for each member it takes a quarter more. `was` has nothing of one that is not on the
-- board.
local first, was, score, number, before, attributes = {}, {}, {}, {}, {}, {}
local names = {}
for k = 1, entries do
  names[k] = ARGV[2 * k + 4]
end
for k, known in ipairs(call('HMGET', members, unpack(names))) do
  local name = names[k]
  if not first[name] then
    first[name] = k
    before[k] = 0
    if known then
      was[k] = struct.unpack('<d', known)
      score[k], number[k], attributes[k] = was[k], string.sub(known, 9, 14), string.sub(known, 15)
      before[k] = call('ZRANK', scores, number[k] .. name) + 1
    end
  end
end

local reached, count, described = {}, 0, {}
for k, name in ipairs(names) do
  local i, given = first[name], ARGV[2 * k + 5]
  local new, has = struct.unpack('<d', given), score[i]
  local stands = true
  if has and ARGV[3] == 'increment' then
    new = has + new
    if new == math.huge or new == -math.huge then
      return {5, k}
    end
  elseif has and ARGV[3] == 'best' then
    stands = new * sign < has * sign
  end
  if stands then
    if new ~= has then
      count = count + 1
      score[i], reached[i] = new, count
    end
    if #given > 8 then
      attributes[i], described[i] = string.sub(given, 9), true
    end
  end
end

if not newest then
  call('HSET', KEYS[1], 'order', ARGV[2], 'newest', started, 'ends', ends)
elseif ended ~= ends then  -- another calendar, of which a period begins just then
  call('HSET', KEYS[1], 'ends', ends)
end
local numbered = count > 0 and call('HINCRBY', KEYS[1], 'seq', count) - count
local gone, ranked, written = {}, {}, {}
for name, i in pairs(first) do
  if reached[i] then
    if number[i] then
      gone[#gone + 1] = number[i] .. name
    end
    number[i] = struct.pack('>I6', numbered + reached[i])
    ranked[#ranked + 1] = score[i] * sign
    ranked[#ranked + 1] = number[i] .. name
  end
  if reached[i] or described[i] then
    written[#written + 1] = name
    written[#written + 1] = struct.pack('<d', score[i]) .. number[i] .. (attributes[i] or '')
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
for k, name in ipairs(names) do
  local i = first[name]
  if i < k then
    packed[k] = packed[i]
  else
    local rank = call('ZRANK', scores, number[k] .. name)
    local changed = (rank or was[k]) and score[k] ~= was[k] and 1 or 0
    packed[k] = struct.pack('<dI4I4B', score[k], rank and rank + 1 or 0, before[k], changed)
  end
end
reply = {1, start, finish, table.concat(packed)}
if answer then
  -- include functions/remember.lua
  remember(answer, ARGV[5], reply)
end
return reply
