#include "src/remote/tier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "src/remote/failure.hpp"
#include "src/remote/script.hpp"

namespace cachectl::remote {

namespace {

template <typename T>
std::vector<T> picked(std::span<const T> all, const std::vector<std::size_t>& indices) {
  std::vector<T> some;
  some.reserve(indices.size());
  for (const auto index : indices) some.push_back(all[index]);
  return some;
}

}  // namespace

Tier::Tier(Options options, const lock::Directory& root, mode_t file_mode, const Clock& clock,
           Hooks hooks)
    : options_(std::move(options)),
      names_(options_.prefix),
      clock_(&clock),
      hooks_(std::move(hooks)),
      route_(options_, root, file_mode, [this](bool is_open) {
        if (hooks_.breaker) hooks_.breaker(is_open);
      }) {}

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
  if (options.topology != Topology::single && options.seeds.empty()) {
    return fail(Errc::usage, "no seeds of the Redis servers", "name at least one");
  }
  if (options.topology == Topology::cluster && options.prefix.find('{') != std::string::npos) {
    // The parts of a value would lie in several slots, or all values in one.
    return fail(Errc::usage, "redis.prefix holds a '{', which chooses the slot of a cluster",
                "take it out");
  }
  return std::unique_ptr<Tier>(
      new Tier(std::move(options), root, file_mode, clock, std::move(hooks)));
}

/// Where a server fails and another one has taken over meanwhile, that one is asked.
Result<void> Tier::at(std::string_view name, const Route::Work& work, Repeat repeat) {
  const auto search = route_.search();
  CACHECTL_ASSIGN(auto* server, route_.find(name, search));
  auto done = route_.with(*server, work, search);
  if (done || kind_of(done.error()) != Kind::connection) return done;
  server = route_.successor(*server, name, search);
  return server == nullptr || repeat == Repeat::no ? done : route_.with(*server, work, search);
}

/// One server after the other. What could not be done because one failed is done once more where
/// another one has taken over.
std::vector<Result<bool>> Tier::by_server(std::size_t count, const NameOf& name_of,
                                          const Part& part, const MayRepeat& may_repeat) {
  std::vector<std::optional<Result<bool>>> results(count);
  struct Group {
    Route::Server* server;
    Indices indices;
  };
  const auto grouped = [&](const Indices& indices, const lock::Deadline& search) {
    std::vector<Group> groups;
    for (const auto index : indices) {
      auto found = route_.find(options_.topology == Topology::single ? "" : name_of(index), search);
      if (!found) {
        results[index] = fail(std::move(found).error());
        continue;
      }
      auto group = std::find_if(groups.begin(), groups.end(),
                                [&](const Group& one) { return one.server == *found; });
      if (group == groups.end()) group = groups.insert(group, {*found, {}});
      group->indices.push_back(index);
    }
    return groups;
  };
  // Those that are left because the server failed.
  const auto run = [&](const Group& group, const lock::Deadline& search) {
    Indices left;
    Outcomes outcomes(group.indices.size());
    const auto done = route_.with(
        *group.server,
        [&](Connection& connection) { return part(connection, group.indices, outcomes); }, search);
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const auto index = group.indices[i];
      if (outcomes[i]) {
        results[index] = std::move(outcomes[i]);
      } else {
        results[index] = done ? Result<bool>(false) : Result<bool>(fail(done.error()));
        if (!done && kind_of(done.error()) == Kind::connection) left.push_back(index);
      }
    }
    return left;
  };
  Indices all(count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  for (const auto& group : grouped(all, route_.search())) {
    const auto search = route_.search();
    auto left = run(group, search);
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&](std::size_t index) { return !may_repeat(index); }),
               left.end());
    if (left.empty() || route_.successor(*group.server, name_of(left.front()), search) == nullptr) {
      continue;
    }
    for (const auto& moved : grouped(left, search)) {
      if (moved.server != group.server) static_cast<void>(run(moved, search));
    }
  }
  std::vector<Result<bool>> settled;
  settled.reserve(count);
  for (auto& result : results) settled.push_back(std::move(*result));
  return settled;
}

void Tier::warn(const Key& key, Error why) const {
  if (!hooks_.warn) return;
  hooks_.warn(
      key, std::move(why)
               .within(fmt::format("Redis: the value of '{}' is taken for a miss", key.printable()))
               .advising("it is replaced when the value is next published"));
}

Result<bool> Tier::fetch(const Key& key, const Take& take) {
  auto results =
      fetch_many(std::span(&key, 1), [&](std::size_t, lock::Bytes part) { return take(part); });
  return std::move(results.front());
}

std::vector<Result<bool>> Tier::fetch_many(std::span<const Key> keys, const TakeOne& take) {
  // What is handed on once is not to be handed on again.
  std::vector<bool> is_taken(keys.size());
  const Download::Warn warn_of = [this](const Key& key, Error why) { warn(key, std::move(why)); };
  const auto part = [&](Connection& connection, const Indices& indices, Outcomes& outcomes) {
    const auto take_one = [&](std::size_t index, lock::Bytes bytes) {
      is_taken[indices[index]] = true;
      return take(indices[index], bytes);
    };
    Download download(connection, names_, warn_of);
    if (indices.size() == keys.size()) return download.run(keys, take_one, outcomes);
    return download.run(picked(keys, indices), take_one, outcomes);
  };
  return by_server(
      keys.size(), [&](std::size_t index) { return names_.head(keys[index]); }, part,
      [&](std::size_t index) { return !is_taken[index]; });
}

Result<bool> Tier::publish(const Key& key, const store::RecordHeader& header, int record_descriptor,
                           Fence fence) {
  const RecordFile record{&key, &header, record_descriptor, std::move(fence)};
  auto results = publish_many(std::span(&record, 1));
  return std::move(results.front());
}

std::vector<Result<bool>> Tier::publish_many(std::span<const RecordFile> records) {
  const auto part = [&](Connection& connection, const Indices& indices, Outcomes& outcomes) {
    return Upload(connection, names_, options_.compress_above, clock_->now())
        .run(picked(records, indices), outcomes);
  };
  // Twice is as good as once: a version does not replace itself.
  return by_server(
      records.size(), [&](std::size_t index) { return names_.head(*records[index].key); }, part,
      [](std::size_t) { return true; });
}

std::vector<std::optional<Stamp>> Tier::stamps(std::span<const Key> keys) {
  static const std::string end = std::to_string(Frame::kSize - 1);
  std::vector<std::optional<Stamp>> found(keys.size());
  const auto part = [&](Connection& connection, const Indices& indices,
                        Outcomes& outcomes) -> Result<void> {
    Commands commands;
    for (const auto index : indices) {
      commands.add({"GETRANGE", names_.head(keys[index]), "0", end});
    }
    return connection.exchange(commands, [&](std::size_t at, Reply& reply) -> Result<void> {
      found[indices[at]] = stamp_in(reply.text);
      outcomes[at] = found[indices[at]].has_value();
      return {};
    });
  };
  static_cast<void>(by_server(
      keys.size(), [&](std::size_t index) { return names_.head(keys[index]); }, part,
      [](std::size_t) { return true; }));
  return found;
}

Result<std::unique_ptr<Reply>> Tier::ask(std::string_view name,
                                         std::initializer_list<std::string_view> command,
                                         const Patience& patience) {
  std::unique_ptr<Reply> answer;
  CACHECTL_TRY(at(
      name,
      [&](Connection& connection) -> Result<void> {
        return connection.exchange(
            Commands().add(command),
            [&](std::size_t, Reply& reply) -> Result<void> {
              if (reply.is(Reply::Type::error)) return fail(connection.refused(reply));
              answer = std::make_unique<Reply>(std::move(reply));
              return {};
            },
            patience);
      },
      patience.more.count() > 0 ? Repeat::no : Repeat::yes));
  return answer;
}

Result<bool> Tier::remove(const Key& key) {
  bool was_there = false;
  const auto name = names_.head(key);
  const auto done = at(name, [&](Connection& connection) -> Result<void> {
    // In one step, so that no head is removed but the one whose chunks we know.
    CACHECTL_ASSIGN(const auto reply, connection.ask({"EVAL", kRemoveScript, "1", name,
                                                      names_.channel(), bytes_of(clock_->now())}));
    if (reply->elements.size() != 2) return fail(connection.refused(*reply));
    auto chunks = chunks_of(names_, key, reply->elements[0]->text);
    was_there = was_there || reply->elements[1]->integer > 0;
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
