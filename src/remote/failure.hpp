// What kinds of failure a remote tier has. None of them fails a job that the local cache or
// the source can serve: whoever asks the tier goes on without it.
//
//   kind            code                    what it stands for
//   connection      Errc::unreachable       no server, too late, not its protocol, or not now
//                   Errc::left_alone        not asked, as it has failed several times in a row
//   serialization   Errc::corrupt           the bytes are not those that were published
//   memory          Errc::remote_full       the server has no room (OOM)
//   cache           Errc::remote_refused    anything else it says: READONLY, WRONGTYPE, NOAUTH
#pragma once

#include <optional>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::remote {

enum class Kind { connection, serialization, memory, cache };

/// nullopt: not a failure of the tier, but of the caller's file or of what takes the bytes.
[[nodiscard]] std::optional<Kind> kind_of(const Error& error);

/// "connection".
[[nodiscard]] std::string_view name_of(Kind kind);

/// The error reply of the server `who`, "OOM command not allowed ...".
[[nodiscard]] Error refusal(std::string_view who, std::string_view reply);

}  // namespace cachectl::remote
