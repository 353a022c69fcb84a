#include "src/remote/tier.hpp"

#include <fmt/format.h>

#include "src/config/duration.hpp"
#include "src/remote/failure.hpp"

namespace cachectl::remote {

namespace {

/// The longest that a trial takes where little goes over; a longer one is no harm.
std::chrono::nanoseconds trial_of(const Options& options) {
  return 2 * (options.connect_timeout + options.read_timeout + options.write_timeout) +
         std::chrono::seconds(1);
}

/// Every item that was not got to has failed as the connection did.
std::vector<Result<bool>> settled(Outcomes outcomes, const Result<void>& done) {
  std::vector<Result<bool>> results;
  results.reserve(outcomes.size());
  for (auto& outcome : outcomes) {
    if (outcome) {
      results.push_back(std::move(*outcome));
    } else {
      results.push_back(done ? Result<bool>(false) : Result<bool>(fail(done.error())));
    }
  }
  return results;
}

}  // namespace

Tier::Tier(Options options, const lock::Directory& root, mode_t file_mode, const Clock& clock,
           Hooks hooks)
    : options_(std::move(options)),
      names_(options_.prefix),
      clock_(&clock),
      hooks_(std::move(hooks)),
      pool_(options_),
      breaker_(root, file_mode, trial_of(options_)) {}

Result<std::unique_ptr<Tier>> Tier::open(Options options, const lock::Directory& root,
                                         mode_t file_mode, const Clock& clock, Hooks hooks) {
  constexpr auto kLongest = std::chrono::hours(1);
  for (const auto timeout :
       {options.connect_timeout, options.read_timeout, options.write_timeout}) {
    if (timeout <= std::chrono::nanoseconds::zero() || timeout > kLongest) {
      return fail(Errc::usage, "a timeout of Redis is not positive, or is longer than an hour",
                  "set redis.connect-timeout, redis.read-timeout and redis.write-timeout");
    }
  }
  if (options.pool_size == 0) {
    return fail(Errc::usage, "redis.pool-size is 0", "set it to 1 or more");
  }
  return std::unique_ptr<Tier>(
      new Tier(std::move(options), root, file_mode, clock, std::move(hooks)));
}

Result<void> Tier::with_connection(const Work& work) {
  const auto verdict = breaker_.ask();
  if (verdict == Breaker::Verdict::refused) {
    return fail(Errc::unreachable,
                fmt::format("{}: left alone, as it has failed several times in a row", server()),
                "it is tried again in " + config::format_duration(breaker_.left()));
  }
  const bool is_trial = verdict == Breaker::Verdict::trial;
  const auto failed = [&](Error why) {
    if (breaker_.failed(verdict)) tell_breaker(true);
    return fail(std::move(why));
  };
  bool attempted = false;
  auto connection = pool_.checkout(is_trial ? Pool::Pause::skip : Pool::Pause::keep, &attempted);
  if (!connection) {
    if (attempted || is_trial) return failed(std::move(connection).error());
    return fail(std::move(connection).error());
  }
  auto done = work(**connection);
  if (!done && done.error().code == Errc::unreachable) return failed(std::move(done).error());
  if (breaker_.succeeded()) tell_breaker(false);
  return done;
}

void Tier::tell_breaker(bool is_open) const {
  if (hooks_.breaker) hooks_.breaker(is_open);
}

void Tier::warn(const Key& key, Error why) const {
  if (!hooks_.warn) return;
  hooks_.warn(std::move(why)
                  .within(fmt::format("{}: the value of '{}' is taken for a miss", server(),
                                      key.printable()))
                  .advising("it is replaced when the value is next published"));
}

Result<bool> Tier::fetch(const Key& key, const Take& take) {
  auto results =
      fetch_many(std::span(&key, 1), [&](std::size_t, lock::Bytes part) { return take(part); });
  return std::move(results.front());
}

std::vector<Result<bool>> Tier::fetch_many(std::span<const Key> keys, const TakeOne& take) {
  Outcomes outcomes(keys.size());
  const Download::Warn warn_of = [this](const Key& key, Error why) { warn(key, std::move(why)); };
  const auto done = keys.empty() ? Result<void>() : with_connection([&](Connection& connection) {
    return Download(connection, names_, warn_of).run(keys, take, outcomes);
  });
  return settled(std::move(outcomes), done);
}

Result<bool> Tier::publish(const Key& key, const store::RecordHeader& header, int record_descriptor,
                           Fence fence) {
  const RecordFile record{&key, &header, record_descriptor, std::move(fence)};
  auto results = publish_many(std::span(&record, 1));
  return std::move(results.front());
}

std::vector<Result<bool>> Tier::publish_many(std::span<const RecordFile> records) {
  Outcomes outcomes(records.size());
  const auto done = records.empty() ? Result<void>() : with_connection([&](Connection& connection) {
    return Upload(connection, names_, options_.compress_above, clock_->now())
        .run(records, outcomes);
  });
  return settled(std::move(outcomes), done);
}

Result<std::unique_ptr<Reply>> Tier::ask(std::initializer_list<std::string_view> command,
                                         std::chrono::nanoseconds more) {
  std::unique_ptr<Reply> answer;
  CACHECTL_TRY(with_connection([&](Connection& connection) -> Result<void> {
    return connection.exchange(
        Commands().add(command),
        [&](std::size_t, Reply& reply) -> Result<void> {
          if (reply.is(Reply::Type::error)) return fail(connection.refused(reply));
          answer = std::make_unique<Reply>(std::move(reply));
          return {};
        },
        more);
  }));
  return answer;
}

Result<bool> Tier::remove(const Key& key) {
  bool was_there = false;
  const auto name = names_.head(key);
  const auto done = with_connection([&](Connection& connection) -> Result<void> {
    // In one transaction, so that no head is removed but the one whose chunks we know.
    Commands commands;
    commands.add({"MULTI"}).add({"GETRANGE", name, "0", "47"}).add({"UNLINK", name}).add({"EXEC"});
    std::vector<std::string> chunks;
    CACHECTL_TRY(
        connection.exchange(commands, [&](std::size_t index, Reply& reply) -> Result<void> {
          if (reply.is(Reply::Type::error)) return fail(connection.refused(reply));
          if (index != 3) return {};
          if (reply.elements.size() != 2) return fail(connection.refused(reply));
          chunks = chunks_of(names_, key, reply.elements[0]->text);
          was_there = reply.elements[1]->integer > 0;
          return {};
        }));
    if (chunks.empty()) return {};
    std::vector<std::string_view> arguments{"UNLINK"};
    arguments.insert(arguments.end(), chunks.begin(), chunks.end());
    return connection.exchange(Commands().add(arguments),
                               [](std::size_t, Reply&) -> Result<void> { return {}; });
  });
  if (!done) return fail(done.error());
  return was_there;
}

}  // namespace cachectl::remote
