#include "src/tree/lines.hpp"

#include <algorithm>
#include <array>

#include "lock/fd.hpp"
#include "lock/number.hpp"
#include "src/checksum.hpp"
#include "src/key.hpp"

namespace cachectl::tree {

namespace {

constexpr std::string_view kVersion = "1";
constexpr std::string_view kEnd = "end ";
constexpr std::size_t kEndLength = 4 + 16 + 1;

std::string hex_of(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4U) text[i] = "0123456789abcdef"[value & 15U];
  return text;
}

/// What escaped() leaves as it is, and most names consist of.
bool is_plain(char byte) { return byte >= 0x20 && byte < 0x7F && byte != '\\'; }

tl::unexpected<Error> corrupt(std::string_view what, std::string_view why) {
  return fail(Errc::corrupt, std::string(what) + ": " + std::string(why));
}

}  // namespace

std::string end_line_of(std::string_view text) {
  return std::string(kEnd) + hex_of(checksum_of(lock::bytes_of(text))) + "\n";
}

LineWriter::LineWriter(std::string_view kind, std::size_t items, std::uint64_t bytes) {
  text_.reserve(100 + items * 80);
  text_ += kind;
  text_ += ' ';
  text_ += kVersion;
  text_ += " items " + std::to_string(items) + " bytes " + std::to_string(bytes) + "\n";
}

void LineWriter::separate() {
  if (begun_) text_ += '\t';
  begun_ = true;
}

LineWriter& LineWriter::word(std::string_view text) {
  separate();
  text_ += text;
  return *this;
}

LineWriter& LineWriter::number(std::uint64_t value) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return word({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

LineWriter& LineWriter::octal(mode_t mode, int digits) {
  separate();
  for (int shift = 3 * (digits - 1); shift >= 0; shift -= 3) {
    text_ += static_cast<char>('0' + (mode >> static_cast<unsigned>(shift) & 7U));
  }
  return *this;
}

LineWriter& LineWriter::hex(std::uint64_t value) { return word(hex_of(value)); }

LineWriter& LineWriter::time(const FileTime& time) {
  std::array<char, 32> digits;
  auto* end = std::to_chars(digits.data(), digits.data() + 21, time.seconds).ptr;
  *end++ = '.';
  for (std::int64_t unit = 100'000'000; unit > 0; unit /= 10) {
    *end++ = static_cast<char>('0' + time.nanoseconds / unit % 10);
  }
  return word({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

LineWriter& LineWriter::path(std::string_view path) {
  return path.empty() ? word(".") : bytes(path);
}

LineWriter& LineWriter::bytes(std::string_view bytes) {
  if (std::all_of(bytes.begin(), bytes.end(), is_plain)) return word(bytes);
  return word(escaped(bytes));
}

void LineWriter::end_line() {
  text_ += '\n';
  begun_ = false;
}

std::string LineWriter::finish() && {
  text_ += end_line_of(text_);
  return std::move(text_);
}

Result<LineReader> LineReader::open(std::string_view text, std::string_view kind,
                                    std::string_view what) {
  if (text.size() < kEndLength) return corrupt(what, "is cut off");
  const auto body = text.substr(0, text.size() - kEndLength);
  if (text.substr(body.size()) != end_line_of(body)) {
    return corrupt(what, "is damaged: its checksum does not match");
  }
  LineReader reader;
  reader.rest_ = body;
  // The first line has blanks where the others have tabs.
  const auto first = std::string(body.substr(0, body.find('\n')));
  std::array<std::string_view, 6> words;
  std::string_view left = first;
  for (auto& word : words) {
    const auto blank = std::min(left.find(' '), left.size());
    word = left.substr(0, blank);
    left.remove_prefix(std::min(blank + 1, left.size()));
  }
  if (words[0] != kind) return corrupt(what, "is no " + std::string(kind));
  if (words[1] != kVersion) {
    return fail(Errc::format,
                std::string(what) + ": has version " + escaped(words[1]) +
                    ", which this program does not know",
                "use a newer cachectl");
  }
  if (words[2] != "items" || words[4] != "bytes" || !left.empty() ||
      !parse_number(words[3], reader.items_) || !parse_number(words[5], reader.bytes_)) {
    return corrupt(what, "its first line is wrong");
  }
  reader.rest_.remove_prefix(std::min(first.size() + 1, body.size()));
  return reader;
}

bool LineReader::next_line() {
  if (!good_ || rest_.empty()) return false;
  const auto end = rest_.find('\n');
  if (end == std::string_view::npos) {
    good_ = false;
    return false;
  }
  line_ = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  more_ = true;
  return true;
}

std::string_view LineReader::word() {
  if (!more_) {
    good_ = false;
    return {};
  }
  const auto tab = line_.find('\t');
  const auto word = line_.substr(0, tab);
  more_ = tab != std::string_view::npos;
  if (more_) line_.remove_prefix(tab + 1);
  return word;
}

std::uint64_t LineReader::number(int base) {
  std::uint64_t value = 0;
  if (!parse_number(word(), value, base)) good_ = false;
  return value;
}

std::optional<std::uint64_t> LineReader::number_or_dash(int base) {
  const auto text = word();
  if (text == "-") return std::nullopt;
  std::uint64_t value = 0;
  if (!parse_number(text, value, base)) good_ = false;
  return value;
}

FileTime LineReader::time() {
  const auto text = word();
  const auto dot = std::min(text.find('.'), text.size());
  const auto fraction = text.substr(std::min(dot + 1, text.size()));
  FileTime time;
  if (!parse_number(text.substr(0, dot), time.seconds) || fraction.size() != 9 ||
      !parse_number(fraction, time.nanoseconds) || time.nanoseconds < 0) {
    good_ = false;
  }
  return time;
}

std::string LineReader::text() {
  const auto escaped = word();
  auto bytes = unescaped(escaped);
  if (escaped.empty() || !bytes) good_ = false;
  return std::move(bytes).value_or(std::string());
}

std::string LineReader::path() {
  auto path = text();
  return path == "." ? std::string() : path;
}

}  // namespace cachectl::tree
