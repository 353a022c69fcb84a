// Computer: coalescing for values that a function of this process makes.
//
// The states and the locks are those of coalesce.hpp: look, take the key's lock, look again,
// make, publish, unlock; who finds the lock taken waits, and gets what came of it. So a program
// that computes and a shell that runs a source share one value, and one of them makes it. A
// failure goes to those who waited for it, as its text, and is not remembered for longer.
//
// A leader that dies while it computes lets go of the lock, and one of those who wait leads.
// What the function has started by then may live on: unlike a source it is not ended.
//
// Threads of one process exclude each other too, each with a wait in the kernel; LayeredCache
// has them wait at less cost. A function that asks for its own key waits for itself: set a
// deadline.
//
// Thread and process safety: any number of both may compute one key.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "src/refresh/coalesce.hpp"

namespace cachectl::refresh {

/// Makes a value. What it throws becomes an Error.
using Make = std::function<Result<std::string>()>;

struct ComputePolicy {
  Windows windows;
  OnError on_error = OnError::stale;
  lock::Deadline deadline = lock::Deadline::never();  ///< of waits, not of the function
  lock::Durability durability = lock::Durability::full;
  Coordination coordination = Coordination::local;
};

struct Computed {
  How how = How::hit;
  store::RecordHeader header;
  std::string output;
  bool refresh_due = false;  ///< compute_anew should be called, by somebody nobody waits for
};

class Computer {
 public:
  /// All must outlive it.
  Computer(const store::Root& root, const Clock& clock, const Warn& warn, FindShared shared = {})
      : root_(&root), clock_(&clock), warn_(&warn), shared_(std::move(shared)) {}

  /// The stored value where it is fresh or stale, else what `make` makes. A failure of the
  /// cache does not keep the caller from that: it is told to `warn`. Errors: that of `make`;
  /// of those who waited, Errc::io with its text; Errc::timeout.
  [[nodiscard]] Result<Computed> compute(const Key& key, const ComputePolicy& policy,
                                         const Make& make) const;

  /// Makes it, unless somebody is at it, or has done so since `generation` was served: nullopt.
  [[nodiscard]] Result<std::optional<Computed>> compute_anew(const Key& key,
                                                             const ComputePolicy& policy,
                                                             const Make& make,
                                                             store::Generation generation) const;

 private:
  struct Asked;
  [[nodiscard]] Result<std::optional<Computed>> read(store::Lookup lookup, How how) const;
  [[nodiscard]] Result<std::optional<Computed>> answer(const Asked& asked) const;
  [[nodiscard]] Result<Computed> ask(const Asked& asked, bool& started) const;
  [[nodiscard]] Result<std::optional<Computed>> taken(const Asked& asked) const;
  [[nodiscard]] Result<Computed> lead(const Asked& asked, lock::HeldLock held, bool& started) const;
  /// `stored` becomes whether it is on disk then.
  [[nodiscard]] Result<Computed> make(const Asked& asked, const lock::HeldLock& held, bool& started,
                                      bool& stored) const;
  [[nodiscard]] Result<Computed> or_stand_in(const Asked& asked, Error failure) const;
  [[nodiscard]] Result<void> publish(const Asked& asked, const lock::HeldLock& held,
                                     Computed& made) const;
  void publish_failure(const Asked& asked, store::RecordHeader header, const Error& why) const;

  const store::Root* root_;
  const Clock* clock_;
  const Warn* warn_;
  FindShared shared_;
};

/// Calls it; what it throws becomes an error.
[[nodiscard]] Result<std::string> call(const Make& make);

/// Makes the value with no cache at all, because of `why`, which is told to `warn`.
[[nodiscard]] Result<Computed> compute_uncached(const Make& make, Error why, const Warn& warn);

}  // namespace cachectl::refresh
