"""What Redis runs by itself, so that one round trip reads, compares and writes with nothing in between.

Keys of both scripts: templates, state, announcements, young fingerprints, old fingerprints (see `worker.cache.store`).
"""

from enum import IntEnum


class Mode(IntEnum):
    """What EXCHANGE does with the templates that it is given."""

    #: There are none.
    READ = 0
    #: Write only if the caller has seen every announcement.
    PUBLISH = 1
    #: Write in any case, merged with what is there.
    WRITE_BACK = 2
    #: Write in any case, in place of what is there.
    REPLACE = 3


#: Arguments: epoch and sequence that the caller has seen, mode, a fresh epoch, most announcements, most templates, most
#: young fingerprints, number of fingerprints, these; then per template its id, its packed bytes, its number of
#: fingerprints, these. A template that another took the place of has its id, the other's, and -1.
#: Returns: epoch, sequence, must the caller reload (0 or 1), was written (0 or 1), templates refused because the store
#: is full, announcements as sequence, kind and payload in turn, packed templates that were merged into something other
#: than was given, and per fingerprint its packed template or an empty string.
EXCHANGE = """
local templates, state, announcements, young, old = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local seen_epoch, seen_sequence, mode = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local most_announcements, most_templates, most_young = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local epoch = redis.call('HGET', state, 'epoch') or ''
local sequence = tonumber(redis.call('HGET', state, 'sequence') or '')
if epoch == '' or not sequence then epoch, sequence = '', 0 end

-- What did the caller miss? Sequences are dense: a hole means that announcements were trimmed.
local reload, missed = 0, {}
if epoch ~= seen_epoch or sequence < seen_sequence then
  reload = 1
elseif sequence > seen_sequence then
  local entries = redis.call('XRANGE', announcements, string.format('%.0f-0', seen_sequence + 1), '+')
  if #entries == sequence - seen_sequence then
    for _, entry in ipairs(entries) do
      missed[#missed + 1] = string.match(entry[1], '^%d+')
      missed[#missed + 1] = entry[2][1]
      missed[#missed + 1] = entry[2][2]
    end
  else
    reload = 1
    -- Entries that no worker announced would force every worker to reload for ever.
    if #entries > sequence - seen_sequence then redis.call('DEL', announcements) end
  end
end

local function announce(kind, payload)
  sequence = sequence + 1
  local id = string.format('%.0f-0', sequence)
  local add = {'XADD', announcements, 'MAXLEN', '~', most_announcements, id, kind, payload}
  local added = redis.pcall(unpack(add))
  if type(added) == 'table' and added.err then
    redis.call('DEL', announcements)
    redis.call(unpack(add))
  end
end

-- A parameter that held white space once may hold it always; a name once given stays.
local function merge(was, now)
  local spacious, names, is_news, is_corrected = {}, {}, false, false
  for i = 1, #now[2] do
    spacious[i] = (now[2][i] or was[2][i]) and true or false
    names[i] = was[3][i] ~= '' and was[3][i] or now[3][i]
    is_news = is_news or spacious[i] ~= was[2][i] or names[i] ~= was[3][i]
    is_corrected = is_corrected or spacious[i] ~= now[2][i] or names[i] ~= now[3][i]
  end
  return cmsgpack.pack({now[1], spacious, names, math.max(was[4], now[4])}), is_news, is_corrected
end

local asked = tonumber(ARGV[8])
local at = 9 + asked
local written, refused, corrected = 0, 0, {}
if mode >= 2 or (mode == 1 and reload == 0 and #missed == 0) then
  written = 1
  if epoch == '' and at <= #ARGV then
    epoch = ARGV[4]
    redis.call('DEL', announcements)
    redis.call('HSET', state, 'epoch', epoch)
  end
  while at <= #ARGV do
    local id, packed, learned = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    if learned < 0 then
      learned = 0
      if redis.call('HDEL', templates, id) == 1 then announce('replaced', id .. ' ' .. packed) end
    else
      local stored = redis.call('HGET', templates, id)
      local is_news, is_corrected = true, false
      if stored and mode < 3 then
        local is_sound, was = pcall(cmsgpack.unpack, stored)
        local is_merged, merged, news, correction = pcall(merge, is_sound and was, cmsgpack.unpack(packed))
        if is_merged then packed, is_news, is_corrected = merged, news, correction end
      end
      if not stored and redis.call('HLEN', templates) >= most_templates then
        refused = refused + 1
      else
        if is_news then
          redis.call('HSET', templates, id, packed)
          announce('template', packed)
        end
        if is_corrected then corrected[#corrected + 1] = packed end
        for i = at + 3, at + 2 + learned do redis.call('HSET', young, ARGV[i], id) end
        -- Two generations bound the fingerprints and forget those that were not asked for lately.
        if redis.call('HLEN', young) >= most_young then redis.call('RENAME', young, old) end
      end
    end
    at = at + 3 + learned
  end
  if epoch ~= '' then redis.call('HSET', state, 'sequence', string.format('%.0f', sequence)) end
end

local found = {}
for i = 9, 8 + asked do
  local id = redis.call('HGET', young, ARGV[i])
  if not id then
    id = redis.call('HGET', old, ARGV[i])
    if id then redis.call('HSET', young, ARGV[i], id) end
  end
  found[#found + 1] = id and redis.call('HGET', templates, id) or ''
end
return {epoch, sequence, reload, written, refused, missed, corrected, found}
"""

#: Arguments: most announcements, ids of templates. Returns how many were there.
REMOVE = """
local templates, state, announcements = KEYS[1], KEYS[2], KEYS[3]
local removed = 0
for i = 2, #ARGV do
  if redis.call('HDEL', templates, ARGV[i]) == 1 then
    removed = removed + 1
    local sequence = string.format('%.0f-0', redis.call('HINCRBY', state, 'sequence', 1))
    redis.call('XADD', announcements, 'MAXLEN', '~', ARGV[1], sequence, 'removed', ARGV[i])
  end
end
return removed
"""
