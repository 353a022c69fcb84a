#include "cli/freshness_options.hpp"

#include <algorithm>
#include <array>

#include "cli/words.hpp"
#include "src/config/value.hpp"

namespace cachectl::cli {

namespace {

struct Shown {
  const char* key;  ///< of the entry's option, and of the flag
  const char* meta;
  const char* doc;
};

constexpr auto kShown = std::to_array<Shown>({
    {"strategy", "NAME", "The TTL of this name in [strategies]: short-term, long-term, ..."},
    {"ttl-by-status", "N=D,...", "By exit status; a failure is not tried again for as long"},
    {"stale-while-revalidate", "D", "For so long after its TTL serve it at once, and run behind"},
    {"stale-if-error", "D", "For so long after its TTL serve it if COMMAND fails"},
    {"on-error", "fail|stale|last-good", "If COMMAND fails: last-good serves whatever there is"},
    {"expire-after-access", "D", "Expired when nobody has read it for so long"},
    {"jitter", "PART", "Expire earlier by up to this part of the TTL: 0.1, 10%"},
    {"beta", "B", "XFetch: refresh early, the more eagerly the larger; 1 is usual"},
    {"refresh-threshold", "D", "So long before its end, refresh early with ..."},
    {"refresh-probability", "P", "... this probability"},
    {"source-timeout", "D", "How long COMMAND may run"},
    {"retries", "N", "Try COMMAND again so often at once, if it fails"},
    {"retry-delay", "D", "The first pause between tries, doubled for each; 1s by default"},
});

/// "22=30s,75=1m".
Result<void> set_members(config::EntrySettings& entry, const config::EntryOption& option,
                         std::string_view text) {
  return each_word(text, [&](std::string_view word) {
    const auto equals = std::min(word.find('='), word.size());
    const auto value = word.substr(std::min(equals + 1, word.size()));
    return option.assign(entry, option,
                         {std::string(value), {}, false, std::string(word.substr(0, equals))});
  });
}

}  // namespace

void FreshnessOptions::define(Definition& definition) {
  definition_ = &definition;
  for (std::size_t index = 0; index < kShown.size(); ++index) {
    const auto& [key, meta, doc] = kShown[index];
    definition.option(std::string("--") + key, given_[index], meta, doc);
  }
  definition.flag("--empty-is-error", empty_is_error_,
                  "It has failed if it ends with 0 and prints nothing");
}

Result<config::EntrySettings> FreshnessOptions::entry(const config::Settings& settings) const {
  config::EntrySettings entry;
  entry.ttl = settings.run_ttl;
  if (empty_is_error_) entry.empty = config::EmptyOutput::error;
  static_assert(kShown.size() == std::tuple_size_v<decltype(given_)>);
  for (std::size_t index = 0; index < kShown.size(); ++index) {
    const auto flag = std::string("--") + kShown[index].key;
    if (!definition_->was_given(flag)) continue;
    const auto& text = given_[index];
    const auto* option = config::find_entry_option(kShown[index].key);
    auto done = config::is_table(option->type) ? set_members(entry, *option, text)
                                               : option->assign(entry, *option, {text, {}, false});
    if (!done) return fail(std::move(done).error().within(flag));
  }
  if (entry.strategy.empty()) return entry;
  auto ttl = settings.ttl_of_strategy(entry.strategy);
  if (!ttl) return fail(std::move(ttl).error().within("--strategy"));
  entry.ttl = *ttl;
  return entry;
}

}  // namespace cachectl::cli
