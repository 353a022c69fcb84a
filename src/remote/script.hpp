// The script that publishes: replaces the head of a record unless what is there is newer.
//
// KEYS: the head; then the chunks that it names. ARGV: the head's value; its TTL in
// milliseconds, empty: for ever; the latest `created` that is not from the future; the name of a
// lease and the token that it must have, both empty: none (fleet_lease.hpp).
// Answers 0 where a newer one stays or the lease is lost, else the head that was there, as far as
// it may name chunks.
//
// Numbers are compared in halves: those of Lua have 53 bits. Not as strings: Lua compares these
// as the locale of the server says.
#pragma once

#include <string_view>

namespace cachectl::remote {

inline constexpr std::string_view kPublishScript =
    R"(if ARGV[4] ~= '' and redis.call('GET', ARGV[4]) ~= ARGV[5] then return 0 end
local old = redis.call('GETRANGE', KEYS[1], 0, 47)
local function stamp(frame)
  local cl, ch, gl, gh = struct.unpack('<I4I4I4I4', frame, 17)
  return {ch, cl, gh, gl}
end
local function later(a, b, n)
  for i = 1, n do
    if a[i] ~= b[i] then return a[i] > b[i] end
  end
  return false
end
if #old >= 40 and string.sub(old, 1, 4) == 'cctl' then
  local theirs = stamp(old)
  local ll, lh = struct.unpack('<I4I4', ARGV[3])
  if later(theirs, stamp(ARGV[1]), 4) and not later(theirs, {lh, ll}, 2) then return 0 end
end
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    return redis.error_reply('CHUNKLOST a part of the value was evicted')
  end
  if ARGV[2] == '' then
    redis.call('PERSIST', KEYS[i])
  else
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return old
)";

/// SHA-1 of it, in hexadecimal: its name for EVALSHA.
inline constexpr std::string_view kPublishScriptName = "31d0acbf66ab7baeaaeeb5775f1ec04b42dfa23c";

}  // namespace cachectl::remote
