// Result<T>: a value or the reason why there is none.
//
// Every fallible function of the library returns one; nothing throws across a
// public boundary. A miss is a value, not an error: errors are for what a person
// has to look at.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace cachectl {

/// What kind of failure this is. The command line maps each to an exit status in
/// one place (cli/exit_status.cpp).
enum class Errc {
  usage,         ///< the caller passed something that cannot be meant
  config,        ///< a configuration file or environment variable is wrong
  io,            ///< an operation on a file or a pipe failed
  permission,    ///< the system does not allow it
  refused,       ///< we do not do it, because it would not be safe
  read_only,     ///< the cache can be read but not written
  corrupt,       ///< data on disk is damaged
  format,        ///< data on disk is of a version that this program does not know
  timeout,       ///< a deadline passed
  lease_lost,    ///< the lock that was to protect this operation is gone
  not_durable,   ///< published, but it may not survive a power loss
  not_runnable,  ///< the command was found but could not be run
  not_found,     ///< the command was not found
  unsupported,   ///< this build or this system cannot do it
  unreachable,   ///< a server cannot be used now: it is not there, or answers too late or nonsense
  left_alone,    ///< a server is not asked for a while, because it was unreachable
  remote_full,   ///< a server has no room
  remote_refused,  ///< a server does not do what it was asked to
};

/// A failure, told for the person who reads it: what failed, on which path, why,
/// and, where there is something to do, what.
struct Error {
  Errc code = Errc::io;
  int system_error = 0;  ///< errno, or 0 when no system call failed
  std::string message;   ///< "what: why", without a trailing full stop
  std::string advice;    ///< what to do about it; may be empty

  /// "what: why (what to do)".
  [[nodiscard]] std::string describe() const;

  /// The same failure seen from one layer up: "context: message".
  [[nodiscard]] Error within(std::string_view context) &&;

  [[nodiscard]] Error advising(std::string text) && {
    advice = std::move(text);
    return std::move(*this);
  }
};

template <typename T>
using Result = tl::expected<T, Error>;

/// "what: strerror(error)", with the code that fits errno: EACCES and EPERM are
/// permission, EROFS is read_only, the rest io.
[[nodiscard]] Error system_error(std::string_view what, int error = errno);

[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string message,
                                                std::string advice = {}) {
  return tl::unexpected<Error>(Error{code, 0, std::move(message), std::move(advice)});
}

}  // namespace cachectl

#define CACHECTL_CONCAT_(a, b) a##b
#define CACHECTL_CONCAT(a, b) CACHECTL_CONCAT_(a, b)

/// Returns the error of `expression` from the enclosing function, if it has one.
#define CACHECTL_TRY(expression)                                 \
  do {                                                           \
    if (auto cachectl_try_ = (expression); !cachectl_try_)       \
      return ::cachectl::fail(std::move(cachectl_try_).error()); \
  } while (false)

/// Declares `variable` as the value of `expression`, or returns its error.
#define CACHECTL_ASSIGN(variable, expression) \
  CACHECTL_ASSIGN_(CACHECTL_CONCAT(cachectl_assign_, __LINE__), variable, expression)
#define CACHECTL_ASSIGN_(holder, variable, expression)             \
  auto holder = (expression);                                      \
  if (!holder) return ::cachectl::fail(std::move(holder).error()); \
  variable = std::move(*holder)
