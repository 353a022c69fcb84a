#include "src/tree/archive.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "src/tree/content.hpp"

namespace cachectl::tree {

namespace {

constexpr std::string_view kArchiveMagic = "cctree 1";
constexpr std::size_t kArchiveHead = kArchiveMagic.size() + sizeof(std::uint64_t);

Result<void> send_file(Cursor& from, const std::string& path, const Item& item,
                       std::span<std::byte> block,
                       const std::function<Result<void>(lock::Bytes)>& sink) {
  CACHECTL_ASSIGN(const auto content, open_content(from, path));
  Checksum sum;
  for (std::uint64_t sent = 0; sent < item.size;) {
    const auto part = block.first(std::min<std::uint64_t>(block.size(), item.size - sent));
    CACHECTL_ASSIGN(const auto got, lock::read_full_at(content.file.get(), part, sent, path));
    if (got != part.size()) return fail(Errc::corrupt, from.name(path) + ": ends too early");
    sum.add(part);
    CACHECTL_TRY(sink(part));
    sent += got;
  }
  if (!item.checksum || *item.checksum != sum.value()) {
    return fail(Errc::corrupt, from.name(path) + ": is not, or no longer, what the manifest says");
  }
  return {};
}

}  // namespace

Result<void> pack(const lock::Directory& parent, const std::string& name, const Manifest& manifest,
                  const std::function<Result<void>(lock::Bytes)>& sink) {
  CACHECTL_TRY(check_name(name));
  const auto text = encode(manifest);
  std::array<std::byte, kArchiveHead> head{};
  const std::uint64_t size = text.size();
  std::memcpy(head.data(), kArchiveMagic.data(), kArchiveMagic.size());
  std::memcpy(head.data() + kArchiveMagic.size(), &size, sizeof size);
  CACHECTL_TRY(sink(head));
  CACHECTL_TRY(sink(lock::bytes_of(text)));

  lock::Fd top;
  const bool is_directory = manifest.items[0].type == Type::directory;
  if (is_directory) {
    top = lock::Fd(open_name(parent.descriptor(), name.c_str(), O_PATH | O_DIRECTORY));
    if (!top.valid()) return fail(open_directory_error(item_name(parent.path(), name), errno));
  }
  Cursor cursor(is_directory ? top.get() : parent.descriptor(), parent.path(), O_PATH);
  std::vector<std::byte> block(kBlock);
  for (const auto& item : manifest.items) {
    if (item.type != Type::file) continue;
    CACHECTL_TRY(send_file(cursor, item.path.empty() ? name : item.path, item, block, sink));
  }
  return {};
}

tl::unexpected<Error> Unpacker::damaged(const std::string& why) const {
  return fail(Errc::corrupt, item_name(to_->path(), name_) + ": the archive is damaged: " + why);
}

const Item& Unpacker::item() const {
  return making_->manifest.items[making_->parts.contents[making_->next]];
}

const std::string& Unpacker::path() const { return item().path.empty() ? name_ : item().path; }

Result<void> Unpacker::add(lock::Bytes data) {
  while (!making_ && !data.empty()) {
    std::uint64_t wanted = kArchiveHead;
    if (head_.size() >= kArchiveHead) {
      std::memcpy(&wanted, head_.data() + kArchiveMagic.size(), sizeof wanted);
      wanted += kArchiveHead;
    }
    const auto part = data.first(std::min<std::uint64_t>(data.size(), wanted - head_.size()));
    head_.insert(head_.end(), part.begin(), part.end());
    data = data.subspan(part.size());
    if (head_.size() == kArchiveHead &&
        std::memcmp(head_.data(), kArchiveMagic.data(), kArchiveMagic.size()) != 0) {
      return damaged("it is none");
    }
    if (head_.size() > kArchiveHead && head_.size() == wanted) CACHECTL_TRY(begin());
  }
  while (!data.empty()) {
    if (!making_->file.valid()) return damaged("there is too much of it");
    const auto part = data.first(std::min<std::uint64_t>(data.size(), making_->missing));
    making_->sum.add(part);
    CACHECTL_TRY(lock::write_all(making_->file.get(), part, path()));
    making_->missing -= part.size();
    data = data.subspan(part.size());
    if (making_->missing == 0) CACHECTL_TRY(end_file());
  }
  return {};
}

Result<void> Unpacker::begin() {
  const auto where = item_name(to_->path(), name_);
  const std::string_view text(reinterpret_cast<const char*>(head_.data()) + kArchiveHead,
                              head_.size() - kArchiveHead);
  CACHECTL_ASSIGN(auto manifest, decode_manifest(text, where + ": the archive"));
  CACHECTL_TRY(check_name(name_));
  lock::Fd top;
  const bool is_directory = manifest.items[0].type == Type::directory;
  if (is_directory) {
    CACHECTL_ASSIGN(top, make_top(*to_, name_));
  }
  Cursor cursor(is_directory ? top.get() : to_->descriptor(), is_directory ? where : to_->path(),
                O_PATH);
  auto parts = parts_of(manifest);
  making_.emplace(Making{
      std::move(manifest), std::move(parts), std::move(top), std::move(cursor), 0, {}, 0, {}});
  head_.clear();
  head_.shrink_to_fit();
  if (is_directory) {
    CACHECTL_TRY(Skeleton(making_->top.get(), where, making_->manifest)
                     .make_directories(making_->parts.directories));
  }
  return next_file();
}

/// Makes what comes up to the next file that has any content.
Result<void> Unpacker::next_file() {
  auto& making = *making_;
  for (; making.next < making.parts.contents.size(); ++making.next) {
    if (item().type == Type::symlink) {
      CACHECTL_TRY(make_symlink(making.cursor, item()));
      continue;
    }
    CACHECTL_ASSIGN(making.file, make_file(making.cursor, path()));
    making.missing = item().size;
    making.sum = {};
    if (making.missing > 0) return {};
    CACHECTL_TRY(dress(making.file.get(), item(), making.cursor.name(path())));
    making.file = {};
  }
  return {};
}

Result<void> Unpacker::end_file() {
  auto& making = *making_;
  if (!item().checksum || *item().checksum != making.sum.value()) {
    return damaged("the content of " + making.cursor.name(path()) + " is not what it should be");
  }
  CACHECTL_TRY(dress(making.file.get(), item(), making.cursor.name(path())));
  making.file = {};
  ++making.next;
  return next_file();
}

Result<Manifest> Unpacker::finish() {
  if (!making_ || making_->next < making_->parts.contents.size())
    return damaged("it ends too early");
  auto& [manifest, parts, top, cursor, next, file, missing, sum] = *making_;
  if (top.valid()) {
    const Skeleton skeleton(top.get(), item_name(to_->path(), name_), manifest);
    CACHECTL_TRY(skeleton.link(parts.links));
    parts.directories.insert(parts.directories.begin(), 0);
    CACHECTL_TRY(skeleton.finish(parts.directories));
  }
  auto done = std::move(manifest);
  making_.reset();
  return done;
}

}  // namespace cachectl::tree
