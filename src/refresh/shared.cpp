#include "src/refresh/shared.hpp"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "src/remote/failure.hpp"
#include "src/store/trees.hpp"

namespace cachectl::refresh {

namespace {

/// A record that comes in parts, on its way to be published here.
class Incoming {
 public:
  Incoming(const store::Root& root, const Key& key, WallTime now)
      : root_(&root), key_(&key), now_(now) {}

  Result<void> append(lock::Bytes part) {
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
    if (!output.empty()) CACHECTL_TRY(writer_->append_output(output));
    const auto errors = part.subspan(output.size());
    return errors.empty() ? Result<void>() : writer_->append_errors(errors);
  }

  /// Whether it is of no use here, which append has said by an error.
  [[nodiscard]] bool is_useless() const { return useless_; }

  Result<void> publish() {
    CACHECTL_ASSIGN(const auto newest, store::newest(*root_, *key_));
    header_->generation = store::next_generation(newest.generation, now_);
    // It can be had again.
    return store::publish(*root_, *key_, nullptr, *writer_, *header_, newest.tree, {},
                          lock::Durability::none);
  }

 private:
  Result<void> begin() {
    CACHECTL_ASSIGN(header_, store::decode_header(head_));
    useless_ = header_->kind != store::Kind::bytes || !store::is_fresh(*header_, now_);
    if (useless_) return fail(Errc::not_found, "not fresh");
    output_left_ = header_->output_size;
    CACHECTL_ASSIGN(auto writer,
                    store::RecordWriter::create(*root_, *key_, lock::Durability::none));
    writer_.emplace(std::move(writer));
    return {};
  }

  const store::Root* root_;
  const Key* key_;
  WallTime now_;
  std::vector<std::byte> head_;
  std::optional<store::RecordHeader> header_;
  std::optional<store::RecordWriter> writer_;
  std::uint64_t output_left_ = 0;
  bool useless_ = false;
};

}  // namespace

void Shared::tell(const Error& why, bool was_left_alone) const {
  if (!was_left_alone && warn_) warn_(Error(why).advising("going on without it"));
}

Result<bool> Shared::take(const Key& key) const {
  Incoming incoming(*root_, key, clock_->now());
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  const auto found = tier_->fetch(key, [&](lock::Bytes part) { return incoming.append(part); });
  if (!found && incoming.is_useless()) return false;
  if (!found && remote::kind_of(found.error())) {
    tell(found.error(), was_left_alone);
    return false;
  }
  if (!found) return fail(found.error());
  if (*found) CACHECTL_TRY(incoming.publish());
  return *found;
}

std::unique_ptr<remote::FleetLease> Shared::lead(const Key& key,
                                                 const lock::Deadline& deadline) const {
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  auto led = remote::FleetLease::lead(*tier_, key, deadline);
  if (led) return std::move(*led);
  tell(led.error(), was_left_alone);
  return nullptr;
}

void Shared::give(const Key& key, const remote::FleetLease* lease) const {
  const auto path = store::entry_name(key.hash()).path();
  const auto file = root_->directory().open_file(path, O_RDONLY);
  if (!file) return;  // removed since
  std::vector<std::byte> head(store::RecordHeader::kSize + key.bytes().size());
  const auto got = lock::read_full_at(file->get(), head, 0, path);
  if (!got || *got != head.size()) return;
  const auto header = store::decode_header(head);
  if (!header || header->kind != store::Kind::bytes ||
      store::key_in(head, *header) != key.bytes()) {
    return;
  }
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  const auto given = tier_->publish(key, *header, file->get(),
                                    lease == nullptr ? remote::Fence() : lease->fence());
  if (!given) tell(given.error(), was_left_alone);
}

void Shared::remove(const Key& key) const {
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  const auto removed = tier_->remove(key);
  if (removed) return;
  auto why = Error(removed.error()).within("'" + key.printable() + "' stays on the server");
  tell(why, was_left_alone);
}

}  // namespace cachectl::refresh
