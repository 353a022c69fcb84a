// DaemonPages: what a daemon answers over HTTP. No values, and no keys but the names of
// configured entries, which label what was counted of them.
//
//   /         for people, in HTML
//   /healthz  200 when it is ready, else 503
//   /metrics  for Prometheus, in its text format
#pragma once

#include <chrono>
#include <optional>

#include "cli/session.hpp"
#include "src/daemon/board.hpp"
#include "src/daemon/http.hpp"

namespace cachectl::cli {

class DaemonPages {
 public:
  /// Both must outlive it. It opens the cache itself.
  DaemonPages(Session& session, const daemon::Notice& notice)
      : session_(session), notice_(notice) {}

  [[nodiscard]] daemon::Answer at(std::string_view path);

 private:
  [[nodiscard]] daemon::Answer health() const;
  [[nodiscard]] daemon::Answer metrics();
  [[nodiscard]] daemon::Answer overview() const;
  [[nodiscard]] Result<std::string> render() const;

  Session& session_;
  const daemon::Notice& notice_;
  // To look at all of a cache takes a while; who asks often gets what was seen last.
  std::optional<std::string> seen_;
  std::chrono::steady_clock::time_point seen_at_;
};

}  // namespace cachectl::cli
