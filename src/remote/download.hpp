// Download: records on their way from the server, over one connection.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "src/remote/connection.hpp"
#include "src/remote/names.hpp"

namespace cachectl::remote {

/// What came of each item; nothing: not got to.
using Outcomes = std::vector<std::optional<Result<bool>>>;

class Download {
 public:
  using Take = std::function<Result<void>(std::size_t index, lock::Bytes part)>;
  /// Of a key whose value is taken for a miss.
  using Warn = std::function<void(const Key& key, Error why)>;

  /// All must outlive it.
  Download(Connection& connection, const Names& names, const Warn& warn)
      : connection_(&connection), names_(&names), warn_(&warn) {}

  /// Fills `outcomes`. An error is one of the connection, and leaves some empty.
  [[nodiscard]] Result<void> run(std::span<const Key> keys, const Take& take, Outcomes& outcomes);

 private:
  struct Large {
    std::size_t index;
    Frame head;
  };
  [[nodiscard]] Result<bool> whole(const Key& key, const std::string& value, std::size_t index,
                                   const Take& take);
  [[nodiscard]] Result<bool> chunks(const Key& key, const Large& large, const Take& take);
  [[nodiscard]] Result<lock::Bytes> chunk(const Frame& head, std::uint64_t number,
                                          const std::string& value);

  Connection* connection_;
  const Names* names_;
  const Warn* warn_;
  std::vector<Large> large_;
  std::vector<std::byte> room_;  // for what is decompressed
};

}  // namespace cachectl::remote
