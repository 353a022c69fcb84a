#include "src/tree/scan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "src/tree/content.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/snapshot.hpp"
#include "src/tree/walk.hpp"
#include "src/tree/workers.hpp"

namespace cachectl::tree {

namespace {

Item item_of(const Found& found) {
  const auto& status = found.status;
  Item item{found.path, Type::file,  status.st_mode & 07777U, FileTime::of(status.st_mtim), 0,
            {},         found.target};
  if (S_ISDIR(status.st_mode)) item.type = Type::directory;
  if (S_ISLNK(status.st_mode)) item.type = Type::symlink;
  if (S_ISREG(status.st_mode)) item.size = static_cast<std::uint64_t>(status.st_size);
  return item;
}

/// Hashes the files with the given indexes, in several threads.
class Hashing {
 public:
  /// `top` is the directory of the tree, or, of a tree that is a file, the one it is in.
  Hashing(int top, std::string where, std::string file_name)
      : top_(top), where_(std::move(where)), file_name_(std::move(file_name)) {}

  Result<void> run(Manifest& manifest, unsigned jobs) const {
    std::vector<std::size_t> files;
    for (std::size_t i = 0; i < manifest.items.size(); ++i) {
      if (manifest.items[i].type == Type::file) files.push_back(i);
    }
    Share share(files.size());
    const auto threads = threads_for(files.size(), manifest.bytes(), jobs);
    return run_workers(threads, share, [&]() -> Result<void> {
      Cursor cursor(top_, where_, O_PATH);
      const auto buffer = std::make_unique<std::byte[]>(kBlock);
      while (true) {
        const auto part = share.take();
        if (part.first == part.end) return {};
        for (auto i = part.first; i < part.end; ++i) {
          CACHECTL_TRY(hash(cursor, manifest.items[files[i]], {buffer.get(), kBlock}));
        }
      }
    });
  }

 private:
  Result<void> hash(Cursor& cursor, Item& item, std::span<std::byte> buffer) const {
    const auto& path = item.path.empty() ? file_name_ : item.path;
    CACHECTL_ASSIGN(const auto content, open_content(cursor, path));
    auto sum = sum_of(content.file.get(), buffer);
    if (!sum) return fail(std::move(sum).error().within(cursor.name(path)));
    item.size = sum->size;  // of what was read, should it have grown
    item.checksum = sum->checksum;
    return {};
  }

  int top_;
  std::string where_;
  std::string file_name_;
};

Result<Scan> walk_into_scan(const Top& top, const std::string& where) {
  Scan scan;
  // By device too: a tree may contain what is mounted there.
  std::map<std::pair<dev_t, ino_t>, std::size_t> several_names;
  CACHECTL_TRY(walk(top, where, {}, [&](Found&& found) -> Result<void> {
    auto item = item_of(found);
    if (item.type == Type::file && found.status.st_nlink > 1) {
      const auto [first, is_new] = several_names.try_emplace(
          {found.status.st_dev, found.status.st_ino}, scan.manifest.items.size());
      if (!is_new) {
        const auto& other = scan.manifest.items[first->second];
        // What it is at the first look counts, should somebody change it meanwhile.
        item = {item.path, Type::hard_link, other.mode, other.modified, other.size, {}, other.path};
      }
    }
    scan.manifest.items.push_back(std::move(item));
    scan.snapshot.stamps.push_back(stamp_of(std::move(found.path), found.status));
    return {};
  }));
  return scan;
}

}  // namespace

Result<Scan> scan(const lock::Directory& parent, const std::string& name,
                  const ScanOptions& options) {
  CACHECTL_ASSIGN(const auto top, open_top(parent, name));
  const auto where = item_name(parent.path(), name);
  CACHECTL_ASSIGN(auto scan, walk_into_scan(top, where));
  if (options.checksums == Checksums::yes) {
    const bool directory = top.directory.valid();
    const Hashing hashing(directory ? top.directory.get() : parent.descriptor(),
                          directory ? where : parent.path(), name);
    CACHECTL_TRY(hashing.run(scan.manifest, options.jobs));
    // Hard links say the size of their file.
    for (auto& item : scan.manifest.items) {
      if (item.type != Type::hard_link) continue;
      if (const auto* first = scan.manifest.find(item.target)) item.size = first->size;
    }
  }
  wait_for_next_tick(scan.snapshot);
  return scan;
}

Result<Scan> list_tree(const lock::Directory& parent, const std::string& name) {
  CACHECTL_ASSIGN(const auto top, open_top(parent, name));
  return walk_into_scan(top, item_name(parent.path(), name));
}

Result<Snapshot> take_snapshot(const lock::Directory& parent, const std::string& name) {
  ScanOptions options;
  options.checksums = Checksums::no;
  CACHECTL_ASSIGN(auto scanned, scan(parent, name, options));
  return std::move(scanned.snapshot);
}

}  // namespace cachectl::tree
