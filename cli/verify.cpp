// cachectl verify KEY...
#include "cli/command.hpp"
#include "cli/json.hpp"

namespace cachectl::cli {

namespace {

class Verify final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("KEY", keys_, "The keys", true);
    definition.flag("--json", json_, "One JSON object a key and line");
    definition.footer(
        "Reads all of the values, fresh or not, and compares them with their checksums. What is\n"
        "wrong is printed, one line each. Exit status 1 when something is, or nothing is stored.");
  }

  Result<int> execute(Session& session) override {
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

 private:
  using Problems = std::optional<std::vector<std::string>>;

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

  std::vector<std::string> keys_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_verify() { return std::make_unique<Verify>(); }

}  // namespace cachectl::cli
