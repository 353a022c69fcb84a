// Lines: the text format that manifests and snapshots share.
//
//   cachectl-manifest 1 items 3 bytes 1234        what it is, version, totals
//   d<TAB>0755<TAB>...                            one line an item, fields between tabs
//   end 0123456789abcdef                          XXH3-64 of all bytes before this line
//
// Names are escaped as for the terminal (\n \t \\ \xNN), so that a line is a line, a tab is
// a tab, and less(1) shows it as it is; the tree itself is ".". Any byte that is changed, lost
// or added shows in the last line, which is compared byte for byte.
//
// Rejected: JSON (escapes bytes that are no UTF-8 in no agreed way, and is slow), a binary
// format (smaller by a third, but nobody can look into it), and a checksum on each line
// (does not see lines that are lost).
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lock/result.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

/// The last line of a text whose other lines are `text`.
[[nodiscard]] std::string end_line_of(std::string_view text);

class LineWriter {
 public:
  LineWriter(std::string_view kind, std::size_t items, std::uint64_t bytes);

  LineWriter& word(std::string_view text);
  LineWriter& number(std::uint64_t value);
  LineWriter& octal(mode_t mode, int digits);
  LineWriter& hex(std::uint64_t value);
  LineWriter& time(const FileTime& time);
  /// Escaped.
  LineWriter& bytes(std::string_view bytes);
  /// A path below the tree; the empty one becomes ".", which no path is.
  LineWriter& path(std::string_view path);
  void end_line();

  /// Adds the last line.
  [[nodiscard]] std::string finish() &&;

 private:
  void separate();

  std::string text_;
  bool begun_ = false;
};

/// Reads what LineWriter wrote. The whole text is verified first; after that, each field
/// that does not parse makes good() false for ever.
class LineReader {
 public:
  /// Errc::corrupt, or Errc::format for a later version.
  [[nodiscard]] static Result<LineReader> open(std::string_view text, std::string_view kind,
                                               std::string_view what);

  [[nodiscard]] std::size_t items() const { return items_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// Goes to the next line; false: there is none.
  bool next_line();
  [[nodiscard]] bool more_fields() const { return more_; }
  std::string_view word();
  std::uint64_t number(int base = 10);
  std::optional<std::uint64_t> number_or_dash(int base = 10);
  FileTime time();
  std::string text();
  std::string path();

  /// All that was read was as it should be, and the line is used up.
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool line_done() const { return good_ && !more_; }

 private:
  std::string_view rest_;
  std::string_view line_;
  bool more_ = false;
  bool good_ = true;
  std::size_t items_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace cachectl::tree
