#include "src/remote/upload.hpp"

#include <sys/random.h>

#include <algorithm>

#include "src/remote/failure.hpp"
#include "src/remote/record_check.hpp"
#include "src/remote/script.hpp"

namespace cachectl::remote {

namespace {

/// As store::is_from_future.
constexpr std::chrono::seconds kFutureSlack{5};
constexpr std::string_view kChunkTtl = "3600000";
constexpr std::size_t kBatch = std::size_t{4} << 20U;

/// In milliseconds, empty: for ever; nullopt: nobody may serve it any more.
std::optional<std::string> ttl_of(const store::RecordHeader& header, WallTime now) {
  const auto end =
      later(header.expires, std::max(header.stale_while_revalidate, header.stale_if_error));
  if (end == kNever) return std::string();
  // The server refuses what its clock cannot add; nobody sees a difference to 100 years.
  constexpr std::chrono::milliseconds kHundredYears = std::chrono::hours(24 * 36525);
  const auto left = std::chrono::floor<std::chrono::milliseconds>(end - now);
  if (end <= now || left.count() <= 0) return std::nullopt;
  return std::to_string(std::min(left, kHundredYears).count());
}

/// A part of the record's file. Errc::corrupt: it ends before that.
Result<void> read_part(const RecordFile& record, std::uint64_t offset, std::span<std::byte> part) {
  CACHECTL_ASSIGN(const auto got,
                  lock::read_full_at(record.descriptor, part, offset, "the record to publish"));
  if (got != part.size()) return fail(Errc::corrupt, "the file ends too early");
  return {};
}

Stamp stamp_of(const store::RecordHeader& header) { return {header.created, header.generation}; }

}  // namespace

std::vector<std::string> chunks_of(const Names& names, const Key& key, std::string_view head) {
  std::vector<std::string> chunks;
  const auto frame = parse_frame(head);
  // More than that nobody stores: its numbers mean nothing.
  constexpr std::uint64_t kMost = std::uint64_t{1} << 20U;
  if (!frame || frame->form != Form::chunked || frame->chunks() > kMost) return chunks;
  for (std::uint64_t number = 0; number < frame->chunks(); ++number) {
    chunks.push_back(names.chunk(key, *frame, number));
  }
  return chunks;
}

Result<void> Upload::run(std::span<const RecordFile> records, Outcomes& outcomes) {
  std::vector<Head> heads;
  std::size_t bytes = 0;
  for (std::size_t index = 0; index < records.size(); ++index) {
    const auto& record = records[index];
    const auto ttl = ttl_of(*record.header, now_);
    if (!is_portable(*record.header)) {
      outcomes[index] = fail(Errc::usage, "publish '" + record.key->printable() +
                                              "' to Redis: its tree is not in the record");
      continue;
    }
    if (!ttl) {
      outcomes[index] = false;
      continue;
    }
    Head head{index, record.key, &record.fence, {}, *ttl, {}};
    if (record.header->file_size() > Frame::kLargestWhole) {
      CACHECTL_TRY(publish_large(record, head, outcomes));
      continue;
    }
    if (auto read = add_whole(record, head); !read) {
      outcomes[index] = fail(
          std::move(read).error().within("publish '" + record.key->printable() + "' to Redis"));
      continue;
    }
    bytes += head.value.size();
    heads.push_back(std::move(head));
    if (bytes < kBatch) continue;
    CACHECTL_TRY(publish(heads, outcomes));
    heads.clear();
    bytes = 0;
  }
  CACHECTL_TRY(publish(heads, outcomes));
  unlink(superseded_);
  return {};
}

Result<void> Upload::add_whole(const RecordFile& record, Head& head) const {
  std::vector<std::byte> raw(record.header->file_size());
  CACHECTL_TRY(read_part(record, 0, raw));
  RecordCheck check(*record.key, stamp_of(*record.header), raw.size());
  CACHECTL_TRY(check.add(raw));
  CACHECTL_TRY(check.finish());
  head.value = framed(stamp_of(*record.header), raw, compress_above_);
  return {};
}

Result<void> Upload::publish(std::vector<Head>& heads, Outcomes& outcomes) {
  std::vector<Head*> all;
  all.reserve(heads.size());
  for (auto& head : heads) all.push_back(&head);
  std::vector<Head*> unknown;
  CACHECTL_TRY(run_script(all, "EVALSHA", kPublishScriptName, outcomes, unknown));
  if (unknown.empty()) return {};
  // A new server does not know the script. Sent as it is, it learns it.
  std::vector<Head*> none;
  return run_script(unknown, "EVAL", kPublishScript, outcomes, none);
}

Result<void> Upload::run_script(std::span<Head*> heads, std::string_view command,
                                std::string_view script, Outcomes& outcomes,
                                std::vector<Head*>& unknown) {
  if (heads.empty()) return {};
  Commands commands;
  const auto limit = bytes_of(later(now_, kFutureSlack));
  const auto channel = names_->channel();
  for (const auto* head : heads) {
    const auto name = names_->head(*head->key);
    const bool is_fenced = !head->fence->token.empty();
    const auto key_count = std::to_string(1 + (is_fenced ? 1 : 0) + head->chunks.size());
    std::vector<std::string_view> arguments{command, script, key_count, name};
    if (is_fenced) arguments.emplace_back(head->fence->lease);
    arguments.insert(arguments.end(), head->chunks.begin(), head->chunks.end());
    arguments.insert(arguments.end(), {head->value, head->ttl, limit, head->fence->token, channel});
    commands.add(arguments);
  }
  return connection_->exchange(commands, [&](std::size_t at, Reply& reply) -> Result<void> {
    auto& outcome = outcomes[heads[at]->index];
    if (reply.is(Reply::Type::integer)) {
      outcome = false;
    } else if (reply.is(Reply::Type::string)) {
      outcome = true;
      auto old = chunks_of(*names_, *heads[at]->key, reply.text);
      std::move(old.begin(), old.end(), std::back_inserter(superseded_));
    } else if (reply.is(Reply::Type::error) && reply.text.starts_with("NOSCRIPT")) {
      unknown.push_back(heads[at]);
    } else {
      auto refused = connection_->refused(reply);
      if (refused.code == Errc::unreachable) return fail(std::move(refused));
      outcome = fail(std::move(refused));
    }
    return {};
  });
}

Result<void> Upload::publish_large(const RecordFile& record, Head& head, Outcomes& outcomes) {
  Frame frame{Form::chunked, record.header->file_size(), stamp_of(*record.header), 0};
  if (::getrandom(&frame.random, sizeof frame.random, 0) != sizeof frame.random) {
    return fail(system_error("draw a random number"));
  }
  head.value = framed_head(frame.stamp, frame.raw_size, frame.random);
  auto sent = send_chunks(record, head, frame);
  if (!sent) {
    // The connection may be closed: then they end with their hour.
    unlink(head.chunks);
    if (sent.error().code == Errc::unreachable) return sent;
    outcomes[head.index] =
        fail(std::move(sent).error().within("publish '" + head.key->printable() + "' to Redis"));
    return {};
  }
  std::vector<Head> only;
  only.push_back(std::move(head));
  CACHECTL_TRY(publish(only, outcomes));
  const auto& outcome = outcomes[only.front().index];
  if (!outcome || !*outcome || !**outcome) unlink(only.front().chunks);
  return {};
}

Result<void> Upload::send_chunks(const RecordFile& record, Head& head, const Frame& frame) {
  RecordCheck check(*record.key, frame.stamp, frame.raw_size);
  std::vector<std::byte> raw;
  for (std::uint64_t number = 0; number < frame.chunks(); ++number) {
    const auto offset = number * Frame::kChunk;
    raw.resize(std::min(Frame::kChunk, frame.raw_size - offset));
    CACHECTL_TRY(read_part(record, offset, raw));
    CACHECTL_TRY(check.add(raw));
    head.chunks.push_back(names_->chunk(*record.key, frame, number));
    const auto value = framed(frame.stamp, raw, compress_above_);
    CACHECTL_ASSIGN(const auto reply,
                    connection_->ask({"SET", head.chunks.back(), value, "PX", kChunkTtl}));
    if (!reply->is(Reply::Type::status)) return fail(connection_->refused(*reply));
  }
  return check.finish();
}

/// As far as it can: what is left ends with its TTL.
void Upload::unlink(const std::vector<std::string>& names) {
  if (names.empty() || !connection_->is_connected()) return;
  std::vector<std::string_view> arguments{"UNLINK"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  static_cast<void>(connection_->exchange(Commands().add(arguments),
                                          [](std::size_t, Reply&) -> Result<void> { return {}; }));
}

}  // namespace cachectl::remote
