#include "src/store/scan.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

namespace cachectl::store {

namespace {

struct CloseListing {
  void operator()(DIR* listing) const { ::closedir(listing); }
};
using Listing = std::unique_ptr<DIR, CloseListing>;

}  // namespace

Result<bool> each_name(const lock::Directory& directory, const Visit& visit) {
  // Its own description: the position in the listing is not to be shared.
  CACHECTL_ASSIGN(lock::Fd own, directory.open_file(".", O_RDONLY | O_DIRECTORY));
  const Listing listing(::fdopendir(own.get()));
  if (!listing) return fail(system_error("list " + directory.path()));
  [[maybe_unused]] const int kept_by_listing = own.release();
  while (true) {
    errno = 0;
    const dirent* item = ::readdir(listing.get());
    if (item == nullptr) {
      if (errno != 0) return fail(system_error("list " + directory.path()));
      return true;
    }
    const std::string name = item->d_name;
    if (name == "." || name == "..") continue;
    CACHECTL_ASSIGN(const bool more, visit(directory, name));
    if (!more) return false;
  }
}

Result<bool> each_entry(const Root& root, unsigned start, const Visit& visit) {
  auto entries = root.directory().open_below(Root::kEntries);
  if (!entries && entries.error().system_error == ENOENT) return true;
  if (!entries) return fail(std::move(entries).error());
  constexpr unsigned kDirectories = 256;
  for (unsigned index = 0; index < kDirectories; ++index) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const unsigned number = (start + index) % kDirectories;
    const std::string name{kDigits[number / 16], kDigits[number % 16]};
    const auto below = entries->open_below(name);
    if (!below && below.error().system_error == ENOENT) continue;
    if (!below) return fail(below.error());
    CACHECTL_ASSIGN(const bool more, each_name(*below, visit));
    if (!more) return false;
  }
  return true;
}

bool hash_of_entry(const lock::Directory& directory, const std::string& name, KeyHash& hash) {
  const auto& path = directory.path();
  const auto slash = path.rfind('/');
  return KeyHash::parse(path.substr(slash + 1) + name, hash);
}

Result<void> each_record(const Root& root, const VisitRecord& visit,
                         const std::function<void(const Error&)>& defect) {
  CACHECTL_TRY(
      each_entry(root, 0, [&](const lock::Directory& in, const std::string& name) -> Result<bool> {
        KeyHash hash;
        if (!hash_of_entry(in, name, hash)) return true;
        const auto found = open_record(in, name, nullptr, Want::header);
        if (!found) {
          defect(found.error());
          return true;
        }
        if (found->defect) defect(*found->defect);
        if (found->entry) visit(hash, *found->entry);
        return true;
      }));
  return {};
}

}  // namespace cachectl::store
