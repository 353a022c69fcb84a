#include "src/remote/download.hpp"

#include <algorithm>

#include "src/remote/failure.hpp"
#include "src/remote/record_check.hpp"

namespace cachectl::remote {

Result<void> Download::run(std::span<const Key> keys, const Take& take, Outcomes& outcomes) {
  Commands commands;
  for (const auto& key : keys) commands.add({"GET", names_->head(key)});
  CACHECTL_TRY(
      connection_->exchange(commands, [&](std::size_t index, Reply& reply) -> Result<void> {
        auto& outcome = outcomes[index];
        if (reply.is(Reply::Type::nil)) {
          outcome = false;
        } else if (reply.is(Reply::Type::string)) {
          const auto large_before = large_.size();
          auto done = whole(keys[index], reply.text, index, take);
          if (large_.size() == large_before) outcome = std::move(done);
        } else {
          auto refused = connection_->refused(reply);
          if (refused.code == Errc::unreachable) return fail(std::move(refused));
          outcome = fail(std::move(refused));
        }
        return {};
      }));
  for (const auto& large : large_) {
    auto done = chunks(keys[large.index], large, take);
    if (!done && done.error().code == Errc::unreachable) return fail(std::move(done).error());
    outcomes[large.index] = std::move(done);
  }
  return {};
}

/// Checked before the first byte is handed on. One in chunks is left for later.
Result<bool> Download::whole(const Key& key, const std::string& value, std::size_t index,
                             const Take& take) {
  const auto frame = parse_frame(value);
  if (frame && frame->form == Form::chunked) {
    large_.push_back({index, *frame});
    return false;
  }
  const auto read = [&]() -> Result<lock::Bytes> {
    if (!frame) return fail(frame.error());
    CACHECTL_ASSIGN(const auto raw, raw_bytes(*frame, value, room_));
    RecordCheck check(key, frame->stamp, frame->raw_size);
    CACHECTL_TRY(check.add(raw));
    CACHECTL_TRY(check.finish());
    return raw;
  };
  auto raw = read();
  if (!raw) {
    (*warn_)(key, std::move(raw).error());
    return false;
  }
  CACHECTL_TRY(take(index, *raw));
  return true;
}

/// The raw bytes of one chunk, which lie in `value` or room_. Errc::corrupt.
Result<lock::Bytes> Download::chunk(const Frame& head, std::uint64_t number,
                                    const std::string& value) {
  CACHECTL_ASSIGN(const auto frame, parse_frame(value));
  const auto expected = std::min(Frame::kChunk, head.raw_size - number * Frame::kChunk);
  if (frame.form == Form::chunked || frame.stamp != head.stamp || frame.raw_size != expected) {
    return fail(Errc::corrupt, "a part of it is of another version");
  }
  return raw_bytes(frame, value, room_);
}

Result<bool> Download::chunks(const Key& key, const Large& large, const Take& take) {
  RecordCheck check(key, large.head.stamp, large.head.raw_size);
  const auto count = large.head.chunks();
  for (std::uint64_t number = 0; number < count; ++number) {
    CACHECTL_ASSIGN(const auto reply,
                    connection_->ask({"GET", names_->chunk(key, large.head, number)}));
    // Evicted, or a new version was published meanwhile.
    if (reply->is(Reply::Type::nil)) return false;
    if (!reply->is(Reply::Type::string)) return fail(connection_->refused(*reply));
    auto raw = chunk(large.head, number, reply->text);
    auto checked = raw ? check.add(*raw) : Result<void>(fail(raw.error()));
    if (checked && number + 1 == count) checked = check.finish();
    if (!checked && number == 0) {
      (*warn_)(key, std::move(checked).error());
      return false;
    }
    if (!checked) {
      return fail(std::move(checked).error().within(connection_->server() + ": the value of '" +
                                                    key.printable() + '\''));
    }
    CACHECTL_TRY(take(large.index, *raw));
  }
  return true;
}

}  // namespace cachectl::remote
