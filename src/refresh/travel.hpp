// Records on their way between this disk and a server: as they lie here, but that a tree, of
// which a record on disk has the number only, is its output there (tree/archive.hpp).
//
// Thread rules: one thread at a time.
#pragma once

#include <optional>
#include <vector>

#include "src/store/record_writer.hpp"
#include "src/store/trees.hpp"
#include "src/tree/archive.hpp"

namespace cachectl::refresh {

/// A record that comes in parts, to be published here.
class Incoming {
 public:
  enum class Wanted {
    fresh,
    news,  ///< fresh, and what is here is no such version, and no later one
  };
  /// All must outlive it.
  Incoming(const store::Root& root, const Key& key, WallTime now, Wanted wanted)
      : root_(&root), key_(&key), now_(now), wanted_(wanted) {}

  /// Errors are those of this machine, and Errc::corrupt or Errc::format: the tree is damaged, or
  /// written by a later version.
  [[nodiscard]] Result<void> append(lock::Bytes part);
  /// Whether the record is not what is wanted, which append has said by an error.
  [[nodiscard]] bool is_useless() const { return useless_; }

  /// Writes the value to a descriptor, called `name` in errors. Errc::usage: it is a tree.
  [[nodiscard]] Result<void> copy_to(int descriptor, std::string_view name);

  /// Under the lock of the key.
  [[nodiscard]] Result<void> publish(const store::Retention& retention);

 private:
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] Result<bool> is_wanted() const;

  const store::Root* root_;
  const Key* key_;
  WallTime now_;
  Wanted wanted_;
  std::vector<std::byte> head_;
  std::optional<store::RecordHeader> header_;
  std::optional<store::RecordWriter> writer_;
  std::optional<store::StagedTree> tree_;
  std::optional<tree::Unpacker> unpacker_;
  std::uint64_t output_left_ = 0;
  bool useless_ = false;
};

/// A record of this disk, complete.
class Outgoing {
 public:
  /// nullopt: there is none, or no longer. `root` must outlive it.
  [[nodiscard]] static Result<std::optional<Outgoing>> open(const store::Root& root,
                                                            const Key& key);

  [[nodiscard]] const store::RecordHeader& header() const { return header_; }
  [[nodiscard]] int descriptor() const { return packed_ ? packed_->descriptor() : file_.get(); }

 private:
  [[nodiscard]] Result<bool> pack(const store::Root& root, const Key& key);

  store::RecordHeader header_;
  lock::Fd file_;
  std::optional<store::RecordWriter> packed_;  // of a tree
};

}  // namespace cachectl::refresh
