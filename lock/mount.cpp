#include "lock/mount.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <sstream>
#include <vector>

#include "lock/fd.hpp"
#include "lock/number.hpp"
#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

/// In mountinfo blanks and the like stand as \040.
std::string unescaped(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    unsigned code = 0;
    if (text[0] == '\\' && text.size() >= 4 && parse_number(text.substr(1, 3), code, 8)) {
      bytes += static_cast<char>(code);
      text.remove_prefix(4);
    } else {
      bytes += text[0];
      text.remove_prefix(1);
    }
  }
  return bytes;
}

/// "254:0" to "fe:00".
std::string hexadecimal(const std::string& device) {
  const auto colon = device.find(':');
  unsigned major = 0;
  unsigned minor = 0;
  if (colon == std::string::npos || !parse_number(device.substr(0, colon), major) ||
      !parse_number(device.substr(colon + 1), minor)) {
    return {};
  }
  return fmt::format("{:02x}:{:02x}", major, minor);
}

}  // namespace

bool Mount::has(std::string_view option) const {
  return ("," + options + ",").find("," + std::string(option) + ",") != std::string::npos;
}

std::string read_proc(const std::string& path) {
  const Fd file(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  std::string text;
  if (!file.valid()) return text;
  std::array<char, 8192> block;
  while (true) {
    const auto got = read_some(file.get(), std::as_writable_bytes(std::span(block)), path);
    if (!got || *got == 0) return text;
    text.append(block.data(), *got);
  }
}

std::optional<std::uint64_t> descriptor_info(int descriptor, std::string_view name) {
  std::istringstream lines(read_proc("/proc/self/fdinfo/" + std::to_string(descriptor)));
  std::string word;
  while (lines >> word) {
    std::uint64_t value = 0;
    if (word == std::string(name) + ':' && lines >> value) return value;
  }
  return std::nullopt;
}

std::optional<Mount> mount_of(int descriptor) {
  const auto id = descriptor_info(descriptor, "mnt_id");
  if (!id) return std::nullopt;
  std::istringstream lines(read_proc("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER-OPTIONS
    std::istringstream words(line);
    std::vector<std::string> word;
    for (std::string each; words >> each;) word.push_back(each);
    std::size_t dash = 6;
    while (dash < word.size() && word[dash] != "-") ++dash;
    if (dash + 3 >= word.size() || word[0] != std::to_string(*id)) continue;
    Mount mount;
    mount.device = hexadecimal(word[2]);
    mount.point = unescaped(word[4]);
    mount.type = word[dash + 1];
    mount.options = word[5] + ',' + word[dash + 3];
    mount.read_only = mount.has("ro");
    return mount;
  }
  return std::nullopt;
}

}  // namespace cachectl::lock
