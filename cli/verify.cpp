// cachectl verify KEY... | --all
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/progress_line.hpp"
#include "src/config/size.hpp"
#include "src/config/value.hpp"

namespace cachectl::cli {

namespace {

class Verify final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positionals("KEY", keys_, "The keys", false);
    definition.flag("--all", all_, "All values, and the superseded trees that are still there");
    definition.option("--jobs", jobs_, "N",
                      "--all: in so many threads; one a processor by default");
    definition.flag("--json", json_, "One JSON object a key and line; --all: one for each problem");
    definition.footer(
        "Reads all of the values, fresh or not, and compares them with their checksums. What is\n"
        "wrong is printed, one line each; with --all a summary on standard error, or with --json\n"
        "as the last line. Exit status 1 when something is wrong, or nothing is stored under KEY.");
  }

  Result<int> execute(Session& session) override {
    if (all_ == !keys_.empty()) {
      return fail(Errc::usage, all_ ? "both keys and --all were given" : "nothing to verify",
                  "name keys, or give --all");
    }
    if (!all_ && definition_->was_given("--jobs")) {
      return fail(Errc::usage, "--jobs is for --all");
    }
    return all_ ? verify_all(session) : verify_keys(session);
  }

 private:
  using Problems = std::optional<std::vector<std::string>>;

  Result<int> verify_all(Session& session) const {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    store::VerifyOptions options;
    if (definition_->was_given("--jobs")) {
      constexpr std::uint64_t kMost = 64;
      const auto number = config::parse_whole(jobs_, kMost);
      if (!number || *number == 0) {
        return fail(Errc::usage, "--jobs: '" + escaped(jobs_) + "' is not a number from 1 to 64");
      }
      options.jobs = static_cast<unsigned>(*number);
    }
    ProgressLine line;
    Result<void> printed;
    options.problem = [&](const std::string& where, const std::string& what) {
      if (!printed) return;
      Json object;
      object["where"] = escaped(where);
      object["problem"] = escaped(what);
      printed = session.print(json_ ? one_line(object) + "\n"
                                    : escaped(where) + ": " + escaped(what) + "\n");
    };
    options.progress = [&](std::uint64_t done, std::uint64_t of) {
      line.show([&] { return fmt::format("{}/{} verified", done, of); });
    };
    CACHECTL_ASSIGN(const auto verified, cache->verify_all(options));
    line.clear();
    CACHECTL_TRY(std::move(printed));
    if (json_) {
      Json object;
      object["records"] = verified.records;
      object["trees"] = verified.trees;
      object["bytes"] = verified.bytes;
      object["damaged"] = verified.damaged;
      CACHECTL_TRY(session.print(one_line(object) + "\n"));
    } else {
      session.tell(fmt::format("verify: {} records ({}) and {} trees: {}", verified.records,
                               config::format_size(verified.bytes), verified.trees,
                               verified.damaged == 0
                                   ? std::string("all intact")
                                   : fmt::format("{} damaged", verified.damaged)));
    }
    return verified.damaged == 0 ? kDone : kNo;
  }

  Result<int> verify_keys(Session& session) {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    int status = kDone;
    for (const auto& bytes : keys_) {
      CACHECTL_ASSIGN(const Key key, Key::from(bytes));
      CACHECTL_ASSIGN(const auto problems, cache->verify(key));
      if (!problems || !problems->empty()) status = kNo;
      CACHECTL_TRY(json_ ? print_json(session, key, problems) : print_text(session, key, problems));
    }
    return status;
  }

  static Result<void> print_json(Session& session, const Key& key, const Problems& problems) {
    Json object;
    put_bytes(object, "key", key.bytes());
    object["stored"] = problems.has_value();
    object["intact"] = problems.has_value() && problems->empty();
    object["problems"] = Json::array();
    if (problems) {
      for (const auto& problem : *problems) object["problems"].push_back(escaped(problem));
    }
    return session.print(one_line(object) + "\n");
  }

  static Result<void> print_text(Session& session, const Key& key, const Problems& problems) {
    if (!problems) return session.print(key.printable() + ": nothing is stored\n");
    std::string text;
    for (const auto& problem : *problems) text += key.printable() + ": " + escaped(problem) + "\n";
    return session.print(text);
  }

  Definition* definition_ = nullptr;
  std::vector<std::string> keys_;
  std::string jobs_;
  bool all_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_verify() { return std::make_unique<Verify>(); }

}  // namespace cachectl::cli
