// Tier: the records of a cache in Redis, one server or several, shared by the machines of a fleet.
//
//   auto tier = Tier::open(options, root.directory(), clock, hooks);
//   auto hit = tier->fetch(key, [&](lock::Bytes part) { return staged.append(part); });
//   if (!hit) ...   // the server failed us: go on as if there was none
//
// What is stored is the record, byte for byte (store/record.hpp), in frames (frame.hpp). That of a
// tree has the tree as its output, as an archive (tree/archive.hpp).
//
// Guarantees. Never wrong data: a record is handed on only if its key is the one asked for, and
// its checksums are right; anything else under our name is a miss, told to Hooks::warn. Of a
// record beyond 8 MiB that is known at the end only: until fetch returns true, what was taken
// is to be thrown away. Versions are never mixed. What is newer (created, then generation) is
// never replaced by what is older, except where it claims to be from the future (5 s of slack).
//
// The last is decided by a script in the server (EVALSHA): one round trip, atomic, and nothing
// to repeat. Comparing before an optimistic transaction (WATCH) takes three, and again under
// contention; a plain SET cannot compare.
//
// Records leave the server when nobody may serve them any more (PX): at the later end of both
// stale windows. Chunks have an hour until their head is written, so a writer that dies leaves
// nothing for ever.
//
// Errors are of the kinds in failure.hpp; a call takes no longer than connection.hpp and route.hpp
// say, and while the breaker is open about a microsecond. A batch takes that for each server.
// Everything else is of the caller's making: what `take` returned, the file of the record.
//
// Nothing connects before the first call. Thread-safe. Fork: a child may go on with it, if no
// other thread was in a call at the fork.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lock/directory.hpp"
#include "src/clock.hpp"
#include "src/key.hpp"
#include "src/remote/options.hpp"
#include "src/remote/route.hpp"
#include "src/remote/upload.hpp"
#include "src/store/record.hpp"

namespace cachectl::remote {

/// Told what no return value says; by the thread that made the call.
struct Hooks {
  /// A value was taken for a miss: damaged, or not ours.
  std::function<void(const Key&, const Error&)> warn;
  /// This process found that the server is to be left alone (true), or that it is back.
  std::function<void(bool is_open)> breaker;
};

class Tier {
 public:
  /// `root` and `clock` must outlive it. Errc::usage: a pool without connections, or timeouts
  /// that are not positive.
  [[nodiscard]] static Result<std::unique_ptr<Tier>> open(Options options,
                                                          const lock::Directory& root,
                                                          mode_t file_mode, const Clock& clock,
                                                          Hooks hooks);

  using Take = std::function<Result<void>(lock::Bytes part)>;
  /// The bytes of the record, in order. False: a miss. Errc::corrupt: a large one is damaged.
  [[nodiscard]] Result<bool> fetch(const Key& key, const Take& take);

  /// False: a newer one is there, the fence is down, or this one may not be served any more. A
  /// record of a tree that has it not as its output is Errc::usage.
  [[nodiscard]] Result<bool> publish(const Key& key, const store::RecordHeader& header,
                                     int record_descriptor, Fence fence = {});

  /// True: it was there.
  [[nodiscard]] Result<bool> remove(const Key& key);

  /// fetch for many, pipelined on one connection for each server; a result for each key. Large
  /// records come after the others.
  using TakeOne = std::function<Result<void>(std::size_t index, lock::Bytes part)>;
  [[nodiscard]] std::vector<Result<bool>> fetch_many(std::span<const Key> keys,
                                                     const TakeOne& take);
  /// publish for many, likewise.
  [[nodiscard]] std::vector<Result<bool>> publish_many(std::span<const RecordFile> records);

  /// The versions that the server has; nullopt: none, or that is not known. Pipelined likewise.
  [[nodiscard]] std::vector<std::optional<Stamp>> stamps(std::span<const Key> keys);

  /// The reply to one command, which is no error, of the server that has `name`. Without
  /// patience it may be asked twice, where the answer to the first was lost.
  [[nodiscard]] Result<std::unique_ptr<Reply>> ask(std::string_view name,
                                                   std::initializer_list<std::string_view> command,
                                                   const Patience& patience = {});
  [[nodiscard]] const Names& names() const { return names_; }
  [[nodiscard]] Route& route() { return route_; }

 private:
  using Indices = std::vector<std::size_t>;
  /// Some of the items, all of one server: fills their outcomes.
  using Part = std::function<Result<void>(Connection&, const Indices&, Outcomes&)>;
  using NameOf = std::function<std::string(std::size_t index)>;
  using MayRepeat = std::function<bool(std::size_t index)>;

  Tier(Options options, const lock::Directory& root, mode_t file_mode, const Clock& clock,
       Hooks hooks);
  enum class Repeat { no, yes };
  [[nodiscard]] Result<void> at(std::string_view name, const Route::Work& work,
                                Repeat repeat = Repeat::yes);
  [[nodiscard]] std::vector<Result<bool>> by_server(std::size_t count, const NameOf& name_of,
                                                    const Part& part, const MayRepeat& may_repeat);
  void warn(const Key& key, Error why) const;

  Options options_;
  Names names_;
  const Clock* clock_;
  Hooks hooks_;
  Route route_;
};

}  // namespace cachectl::remote
