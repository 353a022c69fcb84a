// Upload: records on their way to the server, over one connection.
//
// A record is checked while it is read from its file: what is damaged on this disk does not
// spread to other machines.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/remote/download.hpp"

namespace cachectl::remote {

/// The token that a lease in the server must have for a publish to count; empty: none is asked
/// for.
struct Fence {
  std::string lease;
  std::string token;
};

/// A record on disk that is to be published.
struct RecordFile {
  const Key* key = nullptr;
  const store::RecordHeader* header = nullptr;
  int descriptor = -1;  ///< read by pread(2) from the start of the record
  Fence fence = {};
};

class Upload {
 public:
  /// All must outlive it.
  Upload(Connection& connection, const Names& names, std::uint64_t compress_above, WallTime now)
      : connection_(&connection), names_(&names), compress_above_(compress_above), now_(now) {}

  /// Fills `outcomes`; see Tier::publish. An error is one of the connection, and leaves some
  /// empty.
  [[nodiscard]] Result<void> run(std::span<const RecordFile> records, Outcomes& outcomes);

 private:
  /// A head that is to be written by the script.
  struct Head {
    std::size_t index = 0;
    const Key* key = nullptr;
    const Fence* fence = nullptr;
    std::string value;
    std::string ttl;                  // as the script takes it
    std::vector<std::string> chunks;  // their names
  };
  [[nodiscard]] Result<void> add_whole(const RecordFile& record, Head& head) const;
  [[nodiscard]] Result<void> publish(std::vector<Head>& heads, Outcomes& outcomes);
  [[nodiscard]] Result<void> run_script(std::span<Head*> heads, std::string_view command,
                                        std::string_view script, Outcomes& outcomes,
                                        std::vector<Head*>& unknown);
  [[nodiscard]] Result<void> publish_large(const RecordFile& record, Head& head,
                                           Outcomes& outcomes);
  [[nodiscard]] Result<void> send_chunks(const RecordFile& record, Head& head, const Frame& frame);
  void unlink(const std::vector<std::string>& names);

  Connection* connection_;
  const Names* names_;
  std::uint64_t compress_above_;
  WallTime now_;
  std::vector<std::string> superseded_;  // chunks of heads that were replaced
};

/// The names of the chunks that a head names; none: it is no head of chunks.
[[nodiscard]] std::vector<std::string> chunks_of(const Names& names, const Key& key,
                                                 std::string_view head);

}  // namespace cachectl::remote
