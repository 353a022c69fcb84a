// cachectl get KEY... [--json]
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/json.hpp"

namespace cachectl::cli {

namespace {

class Get final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("KEY", keys_, "The keys; their values are printed one after another",
                           true);
    definition.flag("--json", json_, "One JSON object a key and line");
    definition.footer("Exit status 1 when a key has no fresh value. Reads take no lock.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    int status = kDone;
    for (const auto& bytes : keys_) {
      CACHECTL_ASSIGN(const Key key, Key::from(bytes));
      if (!json_) {
        CACHECTL_ASSIGN(const bool hit, cache->get_to(key, STDOUT_FILENO, "standard output"));
        if (!hit) status = kNo;
        continue;
      }
      CACHECTL_ASSIGN(const auto entry, cache->get(key));
      if (!entry) status = kNo;
      CACHECTL_TRY(print_json(session, *cache, key, entry));
    }
    return status;
  }

 private:
  static Result<void> print_json(Session& session, const Cache& cache, const Key& key,
                                 const std::optional<store::Entry>& entry) {
    Json object;
    put_bytes(object, "key", key.bytes());
    object["hit"] = entry.has_value();
    if (entry) {
      put_header(object, entry->header(), cache.clock().now());
      CACHECTL_ASSIGN(const std::string value, entry->read(store::Stream::output));
      put_bytes(object, "value", value);
    }
    return session.print(one_line(object) + "\n");
  }

  std::vector<std::string> keys_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_get() { return std::make_unique<Get>(); }

}  // namespace cachectl::cli
