-- The steps of tdsys.core.throttling.Gauge, on the clock of Redis. KEYS: the gauge, its permits with
-- the time each was granted. ARGV: step, permit, ceiling, in flight, what it came to, pause, and
-- permits of calls that were answered before.
local NUMBERS = {'rate', 'level', 'at', 'peak', 'cut', 'until', 'pace', 'count', 'since', 'fails',
                 'broken', 'rest', 'probe_at', 'ok', 'no', 'before', 'chance', 'bears', 'calls'}
local step, permit = ARGV[1], ARGV[2]
local ceiling, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'probe', unpack(NUMBERS))
local probe = kept[1] or ''
local g = {}
for place, name in ipairs(NUMBERS) do g[name] = tonumber(kept[place + 1] or 0) end

local function text(number) return string.format('%.17g', number) end

local function keep()
  local fields = {'probe', probe}
  for _, name in ipairs(NUMBERS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = text(g[name])
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('EXPIRE', KEYS[1], KEPT_SECONDS)
  redis.call('EXPIRE', KEYS[2], KEPT_SECONDS)
end

local function refill()
  local passed = math.max(0, now - g.at)
  if g.rate == 0 and ceiling > 0 then
    g.rate, g.level = ceiling, math.max(1, ceiling)
  elseif g.rate > 0 and g.cut > 0 and g.before == 0 then
    g.rate = g.rate + passed * (ceiling > 0 and ceiling or g.peak) / RECOVERY_SECONDS
  elseif ceiling > 0 and g.cut == 0 then
    g.rate = math.max(g.rate, ceiling)
  end
  if ceiling > 0 and g.rate >= ceiling then
    g.rate, g.cut = ceiling, 0
  elseif ceiling == 0 and g.rate >= FORGOTTEN * g.peak then
    g.rate, g.cut = 0, 0
  end
  g.level = math.min(math.max(1, g.rate), g.level + passed * g.rate)
  g.at = now
end

local function slow_down()
  refill()
  g.before, g.ok, g.no = g.no / (g.ok + g.no), 0, 0
  local seen = math.max(g.pace, g.count / math.max(1, now - g.since))
  g.peak = g.rate > 0 and g.rate or seen
  local least = ceiling > 0 and ceiling * LEAST_SHARE or math.min(LEAST_RATE, g.peak)
  g.rate = math.max(least, g.peak * CUT)
  g.level, g.cut = math.min(0, g.level), now
end

local function weigh()
  local share = g.no / (g.ok + g.no)
  local fewer = g.rate * (1 - share) <= FEWER_ANSWERS * g.peak * (1 - g.before)
  local by_chance = fewer and HARDLY_LESS * g.before <= share and share <= MOST_BY_CHANCE
  if by_chance and now >= g.bears then
    g.chance, g.bears = share, now + CHANCE_SECONDS
    g.rate = math.max(g.rate, g.peak)
  end
  g.before = 0
end

local function is_too_often()
  local heard = g.ok + g.no
  local share = g.no / heard
  local borne = math.max(TOLERATED, now < g.bears and g.chance or 0)
  local clear = g.before == 0 or share > MOST_BY_CHANCE + heard ^ -0.5
  return clear and share > borne + SURE * math.sqrt(borne * (1 - borne) / heard)
end

local function hear(refused)
  if refused then g.no = g.no + 1 else g.ok = g.ok + 1 end
  if g.ok + g.no > WINDOW then g.ok, g.no = g.ok / 2, g.no / 2 end
  local measured = g.ok + g.no >= MEASURED or now - g.cut >= MEASURED_SECONDS
  if g.before > 0 and measured then weigh() end
  if refused and now - g.cut >= SECONDS_BETWEEN_CUTS and is_too_often() then slow_down() end
end

local function fail(is_probe)
  if is_probe then
    g.rest = math.min(g.rest * 2, LONGEST_REST)
    g.probe_at = now + g.rest
  elseif g.broken == 0 then
    g.fails = g.fails + 1
    if g.fails >= FAILURES then
      g.broken, g.rest, g.probe_at = now, FIRST_REST, now + FIRST_REST
    end
  end
end

if step == 'look' then
  local flying = redis.call('ZCOUNT', KEYS[2], '(' .. text(now - PERMIT_SECONDS), '+inf')
  local state = 'closed'
  if g.broken > 0 then state = now < g.probe_at and 'open' or 'half open' end
  return {text(g.rate), flying, state, text(g.broken > 0 and now - g.broken or 0),
          text(g.broken > 0 and math.max(0, g.probe_at - now) or 0),
          text(math.max(0, g['until'] - now)), text(g.calls)}
end

local function give_back(returned, came, pause)
  local granted = tonumber(redis.call('ZSCORE', KEYS[2], returned) or 0)
  redis.call('ZREM', KEYS[2], returned)
  local is_probe = probe == returned
  if is_probe then probe = '' end
  if came == 'failed' then
    fail(is_probe)
  elseif came ~= 'dropped' then
    g.fails, g.broken, g.rest = 0, 0, 0
  end
  if came == 'limited' then
    g['until'] = math.max(g['until'], now + math.min(pause, LONGEST_PAUSE))
  end
  if (came == 'answered' or came == 'limited') and granted > g.cut then hear(came == 'limited') end
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - PERMIT_SECONDS))
for place = 7, #ARGV do give_back(ARGV[place], 'answered', 0) end
if step == 'give_back' then
  give_back(permit, ARGV[5], tonumber(ARGV[6]))
  keep()
  return {}
end

local function refuse(seconds, why)
  if #ARGV > 6 then keep() end
  return {text(seconds), why, ''}
end

if g.broken > 0 and now < g.probe_at then return refuse(g.probe_at - now, 'broken') end
if g.broken > 0 and probe ~= '' and redis.call('ZSCORE', KEYS[2], probe) then
  return refuse(PROBE_WAIT, 'broken')
end
if now < g['until'] then return refuse(g['until'] - now, 'paused') end
if most > 0 and redis.call('ZCARD', KEYS[2]) >= most then return refuse(FULL_WAIT, 'full') end
refill()
if g.rate > 0 and g.level < 1 then
  keep()
  return {text((1 - g.level) / g.rate), 'rate', ''}
end
if g.rate > 0 then g.level = g.level - 1 end
if now - g.since >= 1 then
  g.pace, g.count, g.since = g.count / (now - g.since), 0, now
end
g.count = g.count + 1
g.calls = g.calls + 1
redis.call('ZADD', KEYS[2], text(now), permit)
if g.broken > 0 then probe = permit end
keep()
return {'0', '', probe == permit and 'probe' or ''}
