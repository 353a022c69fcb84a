#include "src/refresh/command_key.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "lock/child.hpp"
#include "lock/retry.hpp"
#include "src/checksum.hpp"

namespace cachectl::refresh {

namespace {

constexpr std::size_t kLongestCommand = 256;
constexpr std::size_t kLongestScope = 1024;

/// Unambiguous: each part with its kind and its length in front.
void add(std::string& canonical, char kind, std::string_view part) {
  canonical += kind;
  canonical += std::to_string(part.size());
  canonical += ':';
  canonical += part;
}

Result<std::string> modification_state(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    return std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
  }
  if (errno == ENOENT || errno == ENOTDIR) return std::string("missing");
  return fail(system_error("stat " + path));
}

Result<std::string> content_state(const std::string& path) {
  const lock::Fd file(
      lock::retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::string("missing");
    return fail(system_error("open " + path));
  }
  Checksum sum;
  std::uint64_t size = 0;
  std::vector<std::byte> block(128 * 1024);
  while (true) {
    CACHECTL_ASSIGN(const std::size_t got, lock::read_some(file.get(), block, path));
    if (got == 0) break;
    sum.add(lock::Bytes(block).first(got));
    size += got;
  }
  return std::to_string(size) + "." + std::to_string(sum.value());
}

Result<std::string> canonical_form(const CommandIdentity& identity) {
  std::string canonical;
  for (const auto& argument : identity.argv) add(canonical, 'a', argument);
  add(canonical, 's', identity.scope);
  if (identity.working_directory) {
    std::error_code error;
    const auto directory = std::filesystem::current_path(error);
    if (error) return fail(system_error("working directory", error.value()));
    add(canonical, 'd', directory.string());
  }
  for (const auto& name : identity.variables) {
    const char* value = ::getenv(name.c_str());
    add(canonical, 'n', name);
    add(canonical, value == nullptr ? 'u' : 'v', value == nullptr ? "" : value);
  }
  for (const auto& path : identity.modified) {
    CACHECTL_ASSIGN(const std::string state, modification_state(path));
    add(canonical, 'm', path);
    add(canonical, 't', state);
  }
  for (const auto& path : identity.content) {
    CACHECTL_ASSIGN(const std::string state, content_state(path));
    add(canonical, 'c', path);
    add(canonical, 'x', state);
  }
  return canonical;
}

/// At most `longest` bytes, not cut inside of a UTF-8 sequence.
std::string shortened(std::string text, std::size_t longest) {
  if (text.size() <= longest) return text;
  while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xC0U) == 0x80) --longest;
  text.resize(longest);
  return text + "…";
}

}  // namespace

Result<Key> command_key(const CommandIdentity& identity) {
  if (identity.scope.size() > kLongestScope) {
    return fail(Errc::usage, "the scope has " + std::to_string(identity.scope.size()) + " bytes",
                "a scope has at most 1024 bytes");
  }
  CACHECTL_ASSIGN(const std::string canonical, canonical_form(identity));
  auto text = identity.scope.empty() ? std::string() : identity.scope + ":";
  text += shortened(lock::shell_quoted(identity.argv), kLongestCommand);
  return Key::from(text + " #" + KeyHash::of(canonical).hex());
}

}  // namespace cachectl::refresh
