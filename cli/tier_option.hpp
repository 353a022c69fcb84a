// --tier disk|redis: a command that concerns one of the places of a value only.
#pragma once

#include <string>

#include "cli/definition.hpp"
#include "cli/session.hpp"

namespace cachectl::cli {

class TierOption {
 public:
  void define(Definition& definition);
  /// Before the cache is opened. True: of the server only, and the cache has methods of their own
  /// for that. Otherwise the cache, as the session opens it from now on, knows what to do.
  [[nodiscard]] Result<bool> is_remote(Session& session) const;

 private:
  const Definition* definition_ = nullptr;
  std::string tier_;
};

}  // namespace cachectl::cli
