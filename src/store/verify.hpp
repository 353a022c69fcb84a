// Verify: reads what is stored, and compares it with its checksums.
//
// Takes no lock, and a generation that is read is pinned. What is replaced or removed
// meanwhile is no damage: it is looked at again, or counts as not there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/store/entry.hpp"
#include "src/store/root.hpp"

namespace cachectl::store {

/// What is wrong with a generation of a tree, a line each. nullopt: it is not there.
[[nodiscard]] Result<std::optional<std::vector<std::string>>> tree_problems(const Root& root,
                                                                            const KeyHash& hash,
                                                                            Generation generation,
                                                                            unsigned threads);

/// What is wrong with the value of a record, its tree included.
[[nodiscard]] Result<std::vector<std::string>> value_problems(const Root& root, const KeyHash& hash,
                                                              Entry& entry);

/// The path of the tree that a record names and that is missing, though the record at
/// `in`/`name` still names it; nullopt: the tree is there, or is no longer asked for.
[[nodiscard]] Result<std::optional<std::string>> missing_tree(const Root& root,
                                                              const lock::Directory& in,
                                                              const std::string& name,
                                                              const KeyHash& hash,
                                                              const RecordHeader& header);

struct Verified {
  std::uint64_t records = 0;  ///< outcomes in attempts/ among them
  std::uint64_t trees = 0;    ///< generations, superseded ones among them
  std::uint64_t bytes = 0;    ///< of records
  std::uint64_t damaged = 0;  ///< of records and trees
};

struct VerifyOptions {
  unsigned jobs = 0;  ///< threads; 0: as many as there are processors, up to 8
  /// A line for each thing that is damaged, where it is and what is wrong; not escaped. From
  /// several threads, one at a time.
  std::function<void(const std::string& where, const std::string& what)> problem;
  /// After each, from the calling thread only: so many of so many are done.
  std::function<void(std::uint64_t done, std::uint64_t of)> progress;
};

/// All records and all trees. Replicas are their owners' to change, and have no checksums.
[[nodiscard]] Result<Verified> verify_all(const Root& root, const VerifyOptions& options);

}  // namespace cachectl::store
