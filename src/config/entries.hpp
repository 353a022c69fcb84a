// Entries: what a file says about single keys, each in a section of its own.
//
//   [entries.terraform-plugins]
//   source = ["./download-plugins"]
//   kind = "tree"
//   ttl = "1d"
//   pool = { max = 4 }
//
// One table declares their options, as src/config/options.hpp does for those of cachectl
// itself; the example file and the reference page come from it. Only files set them.
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lock/result.hpp"
#include "src/config/options.hpp"
#include "src/replica.hpp"

namespace cachectl::config {

/// The enumerators stand in the order of EntryOption::choices.
enum class EntryKind { bytes, tree };

/// Text of a file before it is known what it is for.
struct EntryText {
  std::string text;                   ///< of a string, integer or boolean
  std::vector<std::string> elements;  ///< of an array of strings
  bool is_array = false;
};

struct EntrySettings {
  /// The defaults of the table.
  EntrySettings();

  std::vector<std::string> source;  ///< empty: none
  bool shell = false;               ///< source is one text for sh -c
  EntryKind kind = EntryKind::bytes;
  std::chrono::nanoseconds ttl{};
  std::optional<int> not_modified;  ///< the exit status that says so
  std::uint64_t pool_size = 0;
  std::uint64_t pool_max = 0;
  Reset pool_reset = Reset::dirty;
  std::vector<Way> pool_copy;  ///< those allowed, by preference; empty: automatic

  /// What was given, by the key of the option, as one would write it, and where.
  struct Given {
    std::string text;
    std::string origin;  ///< "/etc/cachectl/cachectl.toml:3"
  };
  std::map<std::string, Given, std::less<>> given;

  /// The command to run: the source itself, or sh -c with it.
  [[nodiscard]] std::vector<std::string> command() const;
};

/// By the key's bytes.
using Entries = std::map<std::string, EntrySettings, std::less<>>;

struct EntryOption {
  std::string_view key;  ///< dotted: "pool.max"
  Type type;
  std::string_view default_text;
  std::string_view choices;
  /// "why", without the key.
  Result<void> (*assign)(EntrySettings& entry, const EntryOption& option, const EntryText& text);
  std::string_view doc;  ///< one line, no full stop
};

[[nodiscard]] std::span<const EntryOption> entry_options();
[[nodiscard]] const EntryOption* find_entry_option(std::string_view key);
[[nodiscard]] std::optional<std::string> nearest_entry_option(std::string_view key);
/// Whether some option of an entry lives in this table of it: "pool".
[[nodiscard]] bool is_entry_section(std::string_view name);

}  // namespace cachectl::config
