#include "src/store/record_writer.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "lock/retry.hpp"
#include "src/store/change_table.hpp"

namespace cachectl::store {

namespace {

/// Hash and write in pieces that stay in the processor's cache between the two.
constexpr std::size_t kWriteBlock = 128 * 1024;
constexpr std::size_t kSendPiece = 2 * 1024 * 1024;

/// The access time of a record that was made just now is that of its making, to the nanosecond,
/// until its first use.
timespec access_time(WallTime created) {
  const auto age = SystemClock().now() - created;
  const bool is_new = age >= std::chrono::seconds(0) && age < std::chrono::seconds(1);
  return is_new ? file_time(created) : timespec{0, UTIME_NOW};
}

}  // namespace

RecordWriter::RecordWriter(const Root& root, std::unique_ptr<lock::Directory> staging,
                           lock::StagedFile file, const Key& key)
    : root_(&root),
      staging_(std::move(staging)),
      file_(std::move(file)),
      key_(key.bytes()),
      hash_(key.hash()) {}

Result<RecordWriter> RecordWriter::create(const Root& root, const Key& key,
                                          lock::Durability expected) {
  CACHECTL_ASSIGN(auto opened, root.writable(Root::kStaging));
  auto staging = std::make_unique<lock::Directory>(std::move(opened));
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(*staging, root.file_mode()));
  RecordWriter writer(root, std::move(staging), std::move(file), key);
  writer.send_early_ = expected == lock::Durability::full;
  return writer;
}

Result<void> RecordWriter::append_output(lock::Bytes data) {
  output_size_ += data.size();
  return append(data);
}

Result<void> RecordWriter::append_errors(lock::Bytes data) {
  error_size_ += data.size();
  return append(data);
}

Result<void> RecordWriter::append(lock::Bytes data) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), kWriteBlock));
    data = data.subspan(part.size());
    sum_.add(part);
    if (buffer_.empty() && part.size() == kWriteBlock) {
      CACHECTL_TRY(write(part));
      continue;
    }
    buffer_.insert(buffer_.end(), part.begin(), part.end());
    if (buffer_.size() >= kWriteBlock) CACHECTL_TRY(flush());
  }
  return {};
}

Result<void> RecordWriter::flush() {
  if (buffer_.empty()) return {};
  CACHECTL_TRY(write(buffer_));
  buffer_.clear();
  return {};
}

Result<void> RecordWriter::write(lock::Bytes data) {
  CACHECTL_TRY(lock::write_all_at(descriptor(), data, payload_offset() + flushed_, path()));
  flushed_ += data.size();
  if (send_early_ && flushed_ - sent_ >= kSendPiece) {
    lock::start_writing_back(descriptor(), payload_offset() + sent_, flushed_ - sent_);
    sent_ = flushed_;
  }
  return {};
}

void RecordWriter::give_up() const {
  // It goes with the file at the latest.
  [[maybe_unused]] const int cut = lock::retry([&] { return ::ftruncate(descriptor(), 0); });
}

Result<RecordHeader> RecordWriter::complete(RecordHeader header) {
  header.payload_checksum = sum_.value();
  header.output_size = output_size_;
  header.error_size = error_size_;
  header.key_size = static_cast<std::uint32_t>(key_.size());
  const auto head = encode(header, key_);

  // One write for header and key, and for the value too while it is still in memory.
  std::vector<std::byte> front(head.begin(), head.end());
  const auto key = lock::bytes_of(key_);
  front.insert(front.end(), key.begin(), key.end());
  if (flushed_ == 0) {
    front.insert(front.end(), buffer_.begin(), buffer_.end());
    buffer_.clear();
  }
  CACHECTL_TRY(flush());
  CACHECTL_TRY(lock::write_all_at(descriptor(), front, 0, path()));
  return header;
}

Result<void> RecordWriter::publish(RecordHeader header, Place place, lock::Durability durability) {
  CACHECTL_ASSIGN(header, complete(header));
  // The modification time says when it expires: far enough where it never does; file systems that
  // cannot say so take the last date that they can.
  const timespec times[2] = {access_time(header.created), file_time(header.expires)};
  if (lock::retry([&] { return ::futimens(descriptor(), times); }) != 0) {
    return fail(system_error("set the time of " + path()));
  }
  const auto name =
      place == Place::entry ? entry_name(hash_) : EntryName{Root::kAttempts, hash_.hex()};
  CACHECTL_ASSIGN(const lock::Directory target, root_->writable(name.directory));
  std::optional<Change> change;
  if (place == Place::entry) change.emplace(*root_, hash_);
  return file_.commit(target, name.file, durability);
}

}  // namespace cachectl::store
