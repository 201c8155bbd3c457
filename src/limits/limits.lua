-- The arithmetic of bucket.py at the Redis, in microseconds of its clock. All operations of a call
-- are decided one after the other and nothing comes between.
--
-- KEYS      the buckets, named by their place below
-- ARGV[1]   JSON {now, lease, ops}: now 0 is the server's clock, lease in us, ops a list of
--   ["take", holder, [[key, amount, period, burst, cost], ...]]    -> {wait, at, now, remaining...}
--   ["settle", taken, [[key, amount, period, burst, charged, used], ...]]
--   ["hold", holder, [key, ...]]    the slots are in use: taken, or still
--   ["free", holder, [key, ...]]
--
-- A rate is one string: flowed_off, then first, last, amount of each entry. Slots are a sorted set
-- of holders by the time their lease ends: of a killed process, none is renewed.

local asked = cjson.decode(ARGV[1])
local now = asked.now
if now == 0 then
  local clock = redis.call('TIME')
  now = clock[1] * 1000000 + clock[2]
end

local SLOT_RETRY = 1000000
local rates, dirty = {}, {}

local function forget(rate, period)
  local entries, over = rate.entries, now - period
  while entries[rate.oldest] and entries[rate.oldest].last <= over do
    rate.total = rate.total - entries[rate.oldest].amount
    entries[rate.oldest] = nil
    rate.oldest = rate.oldest + 1
  end
end

-- The server's clock was set back: nothing was charged later than now. Kept, or what is refused
-- until the clock is where it was would stay as new as now.
local function keep_up(rate, key, period)
  local newest = rate.entries[rate.newest]
  local ahead = newest and newest.last - now or 0
  if ahead > 0 then
    for at = rate.oldest, rate.newest do
      local entry = rate.entries[at]
      entry.first, entry.last = entry.first - ahead, entry.last - ahead
    end
    rate.flowed_off = rate.flowed_off - ahead
    dirty[key] = period
  end
end

local function load(key, period)
  local rate = rates[key]
  if not rate then
    rate = {entries = {}, oldest = 1, total = 0, flowed_off = 0}
    local packed = redis.call('GET', KEYS[key])
    if packed then
      local flat = cmsgpack.unpack(packed)
      rate.flowed_off = flat[1]
      for at = 2, #flat, 3 do
        rate.entries[#rate.entries + 1] = {first = flat[at], last = flat[at + 1], amount = flat[at + 2]}
        rate.total = rate.total + flat[at + 2]
      end
    end
    rate.newest = #rate.entries
    rates[key] = rate
    keep_up(rate, key, period)
  end
  forget(rate, period)
  return rate
end

local function save(key, period)
  local rate = rates[key]
  local flat = {rate.flowed_off}
  for at = rate.oldest, rate.newest do
    local entry = rate.entries[at]
    flat[#flat + 1], flat[#flat + 2], flat[#flat + 3] = entry.first, entry.last, entry.amount
  end
  local newest = rate.entries[rate.newest]
  local over = math.max(newest and newest.last + period or 0, rate.flowed_off)
  if over <= now then
    redis.call('DEL', KEYS[key])
  else
    redis.call('SET', KEYS[key], cmsgpack.pack(flat), 'PX', math.ceil((over - now) / 1000) + 1)
  end
end

local function wait_for(rate, amount, period, burst, cost)
  local wait, missing = 0, rate.total + cost - amount
  if missing > 0 then
    wait = period
    for at = rate.oldest, rate.newest do
      missing = missing - rate.entries[at].amount
      if missing <= 0 then
        wait = math.max(rate.entries[at].last + period - now, 1)
        break
      end
    end
  end
  if burst > 0 then
    local late = math.max(rate.flowed_off - now, 0) + (cost - burst) * period / amount
    if late > 1 then wait = math.max(wait, late) end
  end
  return wait
end

local function charge(rate, amount, period, burst, cost)
  local entry = rate.entries[rate.newest]
  if entry and now - entry.first < period / 60 then
    entry.last = now
    entry.amount = entry.amount + cost
  else
    rate.newest = math.max(rate.newest, rate.oldest - 1) + 1
    rate.entries[rate.newest] = {first = now, last = now, amount = cost}
  end
  rate.total = rate.total + cost
  if burst > 0 then
    rate.flowed_off = math.max(rate.flowed_off, now) + cost * period / amount
  end
end

local function give_back(rate, amount, period, burst, taken, back)
  for at = rate.newest, rate.oldest, -1 do
    local entry = rate.entries[at]
    if entry.first <= taken and taken <= entry.last then
      back = math.min(back, entry.amount)
      entry.amount = entry.amount - back
      rate.total = rate.total - back
      if burst > 0 then rate.flowed_off = rate.flowed_off - back * period / amount end
      return
    end
  end
end

local function hold(key, holder)
  redis.call('ZADD', KEYS[key], now + asked.lease, holder)
  redis.call('PEXPIRE', KEYS[key], math.ceil(asked.lease / 1000) + 1000)
end

local function in_use(key)
  redis.call('ZREMRANGEBYSCORE', KEYS[key], '-inf', now)
  -- Another program's lease may be longer; by so much, the clock was set back.
  local longest = string.format('(%.0f', now + 10 * asked.lease)
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', KEYS[key], longest, '+inf')) do
    redis.call('ZADD', KEYS[key], now + asked.lease, holder)
  end
  return redis.call('ZCARD', KEYS[key])
end

local function take(holder, claims)
  local longest, at, left = 0, 0, {}
  for i, claim in ipairs(claims) do
    local key, amount, period, burst, cost = unpack(claim)
    local wait, used = 0, nil
    if period > 0 then
      local rate = load(key, period)
      wait, used = wait_for(rate, amount, period, burst, cost), rate.total
    else
      used = in_use(key)
      if used + cost > amount then wait = SLOT_RETRY end
    end
    if wait > longest then longest, at = wait, i end
    left[i] = amount - used
  end
  local answer = {math.ceil(longest), at, now}
  for i, claim in ipairs(claims) do
    local key, amount, period, burst, cost = unpack(claim)
    if at == 0 then
      if period > 0 then
        charge(rates[key], amount, period, burst, cost)
        dirty[key] = period
      else
        hold(key, holder)
      end
      left[i] = left[i] - cost
    end
    answer[#answer + 1] = math.max(left[i], 0)
  end
  return answer
end

local function settle(taken, charges)
  for _, one in ipairs(charges) do
    local key, amount, period, burst, charged, used = unpack(one)
    local rate = load(key, period)
    if used > charged then
      charge(rate, amount, period, burst, used - charged)
    else
      give_back(rate, amount, period, burst, taken, charged - used)
    end
    dirty[key] = period
  end
end

local answers = {}
for i, op in ipairs(asked.ops) do
  local name, subject, list = unpack(op)
  answers[i] = {}
  if name == 'take' then
    answers[i] = take(subject, list)
  elseif name == 'settle' then
    settle(subject, list)
  else
    for _, key in ipairs(list) do
      if name == 'hold' then hold(key, subject) else redis.call('ZREM', KEYS[key], subject) end
    end
  end
end
for key, period in pairs(dirty) do save(key, period) end
return answers
