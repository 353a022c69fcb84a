// The scripts that servers run.
//
// The first publishes: it replaces the head of a record unless what is there is newer.
//
// KEYS: the head; a lease, if there is one (fleet_lease.hpp); the chunks that it names. ARGV: the
// head's value; its TTL in milliseconds, empty: for ever; the latest `created` that is not from the
// future; the token that the lease must have, empty: there is none; the channel where it is
// announced, as the name of the head and `created` (subscription.hpp).
// Answers 0 where a newer one stays or the lease is lost, else the head that was there, as far as
// it may name chunks.
//
// Numbers are compared in halves: those of Lua have 53 bits. Not as strings: Lua compares these
// as the locale of the server says.
#pragma once

#include <string_view>

namespace cachectl::remote {

inline constexpr std::string_view kPublishScript =
    R"(local first = 2
if ARGV[4] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[4] then return 0 end
  first = 3
end
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
for i = first, #KEYS do
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
redis.pcall('PUBLISH', ARGV[5], KEYS[1] .. string.sub(ARGV[1], 17, 24))
return old
)";

/// SHA-1 of it, in hexadecimal: its name for EVALSHA.
inline constexpr std::string_view kPublishScriptName = "05869837e126ae8008e5f2ae8137e23459a71aaf";

/// KEYS: the head. ARGV: the channel; the time, as `created`: what is older is removed. Answers
/// what was there, as far as it may name chunks, and whether it was.
inline constexpr std::string_view kRemoveScript =
    R"(redis.pcall('PUBLISH', ARGV[1], KEYS[1] .. ARGV[2])
return {redis.call('GETRANGE', KEYS[1], 0, 47), redis.call('UNLINK', KEYS[1])}
)";

}  // namespace cachectl::remote
