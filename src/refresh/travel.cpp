#include "src/refresh/travel.hpp"

#include <fcntl.h>

#include <algorithm>

#include "src/store/store.hpp"

namespace cachectl::refresh {

namespace {

/// `size` bytes of a record's file, from `offset` on.
Result<void> copy_part(int file, std::uint64_t offset, std::uint64_t size,
                       const std::function<Result<void>(lock::Bytes)>& sink) {
  constexpr std::size_t kPart = std::size_t{128} * 1024;
  std::vector<std::byte> block(kPart);
  for (std::uint64_t done = 0; done < size;) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(kPart, size - done));
    CACHECTL_ASSIGN(const auto got, lock::read_full_at(file, part, offset + done, "a record"));
    if (got != part.size()) return fail(Errc::corrupt, "the record ends too early");
    CACHECTL_TRY(sink(part));
    done += got;
  }
  return {};
}

}  // namespace

Result<void> Incoming::append(lock::Bytes part) {
  if (!header_) {
    const auto missing = store::RecordHeader::kSize + key_->bytes().size() - head_.size();
    const auto taken = part.first(std::min(missing, part.size()));
    head_.insert(head_.end(), taken.begin(), taken.end());
    if (taken.size() < missing) return {};
    part = part.subspan(taken.size());
    CACHECTL_TRY(begin());
  }
  const auto output = part.first(std::min<std::uint64_t>(output_left_, part.size()));
  output_left_ -= output.size();
  if (unpacker_) {
    auto added = unpacker_->add(output);
    if (!added) {
      // Of this disk, which it calls by names inside the tree.
      const bool is_local = added.error().system_error != 0;
      if (!is_local) return added;
      return fail(std::move(added).error().within(tree_->value_path()));
    }
  } else if (!output.empty()) {
    CACHECTL_TRY(writer_->append_output(output));
  }
  const auto errors = part.subspan(output.size());
  return errors.empty() ? Result<void>() : writer_->append_errors(errors);
}

Result<void> Incoming::begin() {
  CACHECTL_ASSIGN(header_, store::decode_header(head_));
  CACHECTL_ASSIGN(const bool wanted, is_wanted());
  useless_ = !wanted;
  if (useless_) return fail(Errc::not_found, "not wanted");
  output_left_ = header_->output_size;
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(*root_, *key_, lock::Durability::none));
  writer_.emplace(std::move(writer));
  if (header_->kind == store::Kind::bytes) return {};
  CACHECTL_ASSIGN(auto staged, store::StagedTree::create(*root_));
  tree_.emplace(std::move(staged));
  unpacker_.emplace(tree_->directory(), store::StagedTree::kValue);
  return {};
}

/// A refresh ahead of time is not to be answered by the value that is to be refreshed.
Result<bool> Incoming::is_wanted() const {
  if (!store::is_fresh(*header_, now_)) return false;
  if (wanted_ == Wanted::fresh) return true;
  CACHECTL_ASSIGN(auto there, store::find(*root_, *key_));
  if (!there.entry || store::is_from_future(there.entry->header(), now_)) return true;
  const auto created = there.entry->header().created;
  if (created != header_->created) return created < header_->created;
  return !there.entry->verify();  // it is damaged here
}

Result<void> Incoming::publish(const store::Retention& retention) {
  if (tree_) {
    CACHECTL_ASSIGN(const auto manifest, unpacker_->finish());
    CACHECTL_TRY(tree_->seal(manifest, lock::Durability::none));
  }
  CACHECTL_ASSIGN(const auto newest, store::newest(*root_, *key_));
  header_->generation = store::next_generation(newest.generation, now_);
  // It can be had again.
  return store::publish(*root_, *key_, tree_ ? &*tree_ : nullptr, *writer_, *header_, newest.tree,
                        retention, lock::Durability::none);
}

Result<void> Incoming::copy_to(int descriptor, std::string_view name) {
  if (tree_) {
    return fail(store::other_kind(*key_, store::Kind::tree, "find it with: cachectl path"));
  }
  CACHECTL_TRY(writer_->flush());
  return copy_part(writer_->descriptor(), header_->payload_offset(), header_->output_size,
                   [&](lock::Bytes part) { return lock::write_all(descriptor, part, name); });
}

Result<std::optional<Outgoing>> Outgoing::open(const store::Root& root, const Key& key) {
  const auto path = store::entry_name(key.hash()).path();
  CACHECTL_ASSIGN(auto file, root.directory().open_if_exists(path, O_RDONLY));
  if (!file) return std::optional<Outgoing>();
  Outgoing record;
  record.file_ = std::move(*file);
  std::vector<std::byte> head(store::RecordHeader::kSize + key.bytes().size());
  CACHECTL_ASSIGN(const auto got, lock::read_full_at(record.file_.get(), head, 0, path));
  if (got != head.size()) return std::optional<Outgoing>();
  CACHECTL_ASSIGN(record.header_, store::decode_header(head));
  if (store::key_in(head, record.header_) != key.bytes()) return std::optional<Outgoing>();
  if (record.header_.kind == store::Kind::tree) {
    CACHECTL_ASSIGN(const bool is_there, record.pack(root, key));
    if (!is_there) return std::optional<Outgoing>();
  }
  return std::optional(std::move(record));
}

/// Writes the record anew, to a file without a future, with the tree in it.
Result<bool> Outgoing::pack(const store::Root& root, const Key& key) {
  CACHECTL_ASSIGN(const auto tree, store::pin_tree(root, key.hash(), header_.tree_generation));
  if (!tree) return false;
  CACHECTL_ASSIGN(const auto manifest, tree->manifest());
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(root, key, lock::Durability::none));
  CACHECTL_TRY(tree::pack(tree->directory(), store::StagedTree::kValue, manifest,
                          [&](lock::Bytes part) { return writer.append_output(part); }));
  CACHECTL_TRY(copy_part(file_.get(), header_.payload_offset() + header_.output_size,
                         header_.error_size,
                         [&](lock::Bytes part) { return writer.append_errors(part); }));
  CACHECTL_ASSIGN(header_, writer.complete(header_));
  packed_.emplace(std::move(writer));
  return true;
}

}  // namespace cachectl::refresh
