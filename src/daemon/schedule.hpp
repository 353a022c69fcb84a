// Schedule: which entry is to be made anew, and when. Nothing here waits, or knows a clock:
// the caller says what time it is, and where random numbers come from.
//
//            start_next                  succeeded: after the interval, less up to a tenth
//    due ---------------> running --+--> and the time that it takes, so that the value does
//     ^                             |    not become stale meanwhile
//     |                             `--> failed: after 1 s, 2 s, 4 s, ..., half of it drawn,
//     `---- its time has come ----- resting      at most the interval or an hour
//
// An entry that has a value when it is first seen is due at once, behind those that have
// none: nobody waits for it. Those are what `is_ready` waits for: each has been tried once.
//
// `replace` is for a new configuration: an entry that is described as before stays as it
// is; one that is not is due again, if it runs then once more when it has ended.
//
// Thread rules: belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cachectl::daemon {

class Schedule {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// A number from (0, 1].
  using Draw = std::function<double()>;

  struct Entry {
    std::string name;
    std::chrono::nanoseconds interval;  ///< max: made once
    std::string definition;             ///< changes when the value is to be made in another way
    bool has_value = false;             ///< a reader can be given something
  };

  explicit Schedule(Draw draw) : draw_(std::move(draw)) {}

  /// These and no others, from now on.
  void replace(const std::vector<Entry>& entries, Time now);

  /// Takes an entry that is due; nullopt: none is.
  [[nodiscard]] std::optional<std::string> start_next(Time now);

  /// How one that was taken has ended. `took`: how long ago its value was begun.
  /// One that is no longer there is nobody's concern.
  void succeeded(const std::string& name, std::chrono::nanoseconds took, Time now);
  void failed(const std::string& name, int status, Time now);

  /// When the next entry is due; nullopt: none will be before one that runs has ended.
  [[nodiscard]] std::optional<Time> next_due() const;

  [[nodiscard]] bool is_ready() const { return untried() == 0; }
  [[nodiscard]] bool contains(const std::string& name) const { return entries_.contains(name); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  /// How many of them failed when they were last made.
  [[nodiscard]] std::size_t failing() const;
  /// Failures in a row.
  [[nodiscard]] std::uint64_t failures(const std::string& name) const;
  /// How long it rests from now; nullopt: it does not, or for ever.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> pause(const std::string& name,
                                                              Time now) const;

  /// A value that somebody else began to make less than this ago need not be made anew: it is of
  /// the present definition as far as can be known, and there is time left for a rest, and to
  /// make it then. max: none need be.
  [[nodiscard]] std::chrono::nanoseconds new_enough(const std::string& name, Time now) const;

  /// "12 entries, 1 failing: prices (status 22, 3 times)".
  [[nodiscard]] std::string describe() const;

 private:
  struct State {
    Entry entry;
    Time due;
    Time redefined = Time::min();
    bool runs = false;
    bool again = false;  // its definition has changed while it runs
    bool tried = false;
    std::uint64_t failures = 0;
    int status = 0;  // of the last failure
  };
  [[nodiscard]] State* ended(const std::string& name, Time now);
  [[nodiscard]] std::size_t untried() const;

  Draw draw_;
  std::map<std::string, State> entries_;
};

}  // namespace cachectl::daemon
