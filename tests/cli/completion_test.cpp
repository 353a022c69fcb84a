// What bash, zsh and fish complete, in the shells themselves.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"
#include "tests/cli/terminal.hpp"

namespace cachectl::test {

namespace {

using Words = std::vector<std::string>;

std::string completions(std::string_view file) {
  return std::string(CACHECTL_GENERATED_DIR) + "/completions/" + std::string(file);
}

/// So that the shells find the command that is tested.
std::string path_line(const Sandbox& sandbox) {
  const std::string command = binary();
  const auto bin = sandbox.file("bin");
  std::system(("mkdir -p " + bin + " && ln -sf " + command + " " + bin + "/cachectl").c_str());
  return "PATH=" + bin + ":$PATH; export PATH\n";
}

/// A shell that a line is typed into. A key lets it insert all that it can complete; `show` in
/// front of the line then tells which words the shell takes that for.
class Shell {
 public:
  Shell(const Sandbox& sandbox, const std::string& start) : terminal_(sandbox, start) {
    REQUIRE(terminal_.shows("ready>"));
  }

  Words complete(std::string_view line) {
    constexpr std::string_view kAllMatches = "\x07";
    constexpr std::string_view kLineStart = "\x01";
    const auto number = std::to_string(++asked_);
    terminal_.type(line);
    terminal_.type(kAllMatches);
    terminal_.type(kLineStart);
    terminal_.type("show " + number + " \r");
    if (!terminal_.shows(number + " shown.")) return {"nothing was shown", terminal_.screen()};
    const auto& screen = terminal_.screen();
    auto at = screen.find("words " + number + ":");
    const auto end = screen.find(number + " shown.");
    Words words;
    while ((at = screen.find("\x02", at)) < end) {
      const auto close = screen.find('\x03', at);
      words.push_back(screen.substr(at + 1, close - at - 1));
      at = close;
    }
    return words;
  }

 private:
  Terminal terminal_;
  int asked_ = 0;
};

constexpr std::string_view kShow =
    "show() { printf 'words %s:' \"$1\"; n=$1; shift; printf '\\002%s\\003' \"$@\"; "
    "printf '%s shown.\\n' \"$n\"; }\n"
    "PS1='ready> '\n";

Shell bash(const Sandbox& sandbox) {
  write_file(sandbox.file("rc"), path_line(sandbox) + ". " + completions("cachectl") + "\n" +
                                     std::string(kShow) +
                                     "bind '\"\\C-g\": insert-completions'\n"
                                     "bind 'set enable-bracketed-paste off'\n");
  return {sandbox, "TERM=dumb exec bash --noprofile --rcfile " + sandbox.file("rc") + " -i"};
}

Shell zsh(const Sandbox& sandbox) {
  write_file(sandbox.file(".zshrc"),
             path_line(sandbox) + "fpath=(" + completions("") +
                 " $fpath)\n"
                 "autoload -U compinit; compinit -D -u\n" +
                 std::string(kShow) +
                 "unsetopt zle_bracketed_paste prompt_sp; setopt no_beep no_list_beep\n"
                 "zle -C all-matches complete-word _generic; bindkey '^G' all-matches\n"
                 "zstyle ':completion:all-matches::::' completer _all_matches _complete\n"
                 "zstyle ':completion:all-matches:*' insert true\n");
  return {sandbox, "TERM=dumb ZDOTDIR=" + sandbox.file("") + " exec zsh -d -i"};
}

/// fish tells itself what it would complete.
class Fish {
 public:
  explicit Fish(const Sandbox& sandbox) : sandbox_(sandbox), path_(path_line(sandbox)) {}

  [[nodiscard]] Words complete(const std::string& line) const {
    // As the shell would take them, behind what stands there already.
    const auto cut = line.rfind(' ') + 1;
    const auto outcome = test::run(sandbox_.shell(
        path_ + "exec fish --no-config -c 'source " + completions("cachectl.fish") +
        "; for word in (complete -C $argv[1]); string split -f 1 \\t -- $word; end' '" + line +
        "'"));
    CHECK(outcome.errors.empty());
    auto words = lines_of(outcome.output);
    std::string before = line.substr(0, cut);
    Words typed;
    for (std::size_t at = 0; at < before.size();) {
      const auto end = before.find(' ', at);
      typed.push_back(before.substr(at, end - at));
      at = end + 1;
    }
    if (words.empty() && cut < line.size()) typed.push_back(line.substr(cut));
    typed.insert(typed.end(), words.begin(), words.end());
    return typed;
  }

 private:
  const Sandbox& sandbox_;
  std::string path_;
};

/// Keys that a shell must quote, or that cannot be completed.
void fill(const Sandbox& sandbox) {
  for (const char* key : {"user:123", "all:one", "my key", "di$HOME", "it's", "a=b", "x;touch oops",
                          "odd\xff", "line\nfeed", "-dash", "back\\slash"}) {
    REQUIRE(sandbox.run({"set", "--durability", "none", "--", key, "v"}).status == 0);
  }
  configure(sandbox,
            "[entries.prices]\nsource = [\"echo\", \".source x\"]\n"
            "[entries.\"p x\"]\nsource = [\"true\"]\n"
            "[entries.\"all:*\"]\nttl = \"1h\"\n"
            "[entries.unmade]\nttl = \"1h\"\n");
}

Words sorted(Words words) {
  std::sort(words.begin(), words.end());
  return words;
}

/// The words behind "cachectl ...", in any order: shells sort by the locale.
template <typename Shell>
Words offered(Shell& shell, const std::string& line, std::size_t typed) {
  auto words = shell.complete(line);
  REQUIRE(words.size() >= typed);
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(typed));
  return sorted(words);
}

bool has(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

template <typename Shell>
void completes_everything(Shell& shell, const Sandbox& sandbox) {
  const auto commands = offered(shell, "cachectl ", 1);
  for (const char* name : {"run", "get", "acquire", "help"}) CHECK(has(commands, name));
  CHECK(offered(shell, "cachectl de", 1) == Words{"delete"});
  CHECK(offered(shell, "cachectl --quiet re", 2) == Words{"redis", "refresh", "release"});

  CHECK(offered(shell, "cachectl run --ttl", 2) == Words{"--ttl", "--ttl-by-status"});
  CHECK(offered(shell, "cachectl gc --dr", 2) == Words{"--dry-run"});
  CHECK(offered(shell, "cachectl run --on-error ", 3) == Words{"fail", "last-good", "stale"});
  CHECK(offered(shell, "cachectl stats --format ", 3) == Words{"json", "prometheus", "text"});
  CHECK(offered(shell, "cachectl top --sort r", 3) == Words{"rate", "requests"});
  CHECK(offered(shell, "cachectl get --log-level ", 3) ==
        Words{"debug", "error", "info", "notice", "warning"});
  CHECK(offered(shell, "cachectl lease ", 2) == Words{"list", "renew", "show"});
  CHECK(offered(shell, "cachectl pool re", 2) == Words{"reset", "resize"});
  CHECK(offered(shell, "cachectl redis ", 2) == Words{"flush", "ping", "stats"});
  CHECK(offered(shell, "cachectl help wa", 2) == Words{"warm"});
  CHECK(offered(shell, "cachectl run --strategy sh", 3) == Words{"short-term"});

  const Words keys{"a=b", "all:one", "di$HOME", "it's", "my key", "user:123", "x;touch oops"};
  CHECK(offered(shell, "cachectl show ", 2) == keys);
  CHECK(offered(shell, "cachectl show user:", 2) == Words{"user:123"});
  CHECK(offered(shell, "cachectl verify user:123 all:", 3) == Words{"all:one"});
  CHECK(offered(shell, "cachectl lock --key m", 3) == Words{"my key"});
  CHECK(has(offered(shell, "cachectl get ", 2), "prices"));
  CHECK(offered(shell, "cachectl refresh ", 2) == Words{"p x", "prices"});
  const auto other = sandbox.file("other");
  REQUIRE(sandbox.run({"--root", other, "set", "elsewhere", "v"}).status == 0);
  CHECK(offered(shell, "cachectl --root " + other + " show ", 4) == Words{"elsewhere"});
  CHECK(offered(shell, "cachectl show --root=" + other + " ", 3) == Words{"elsewhere"});
  // A cache that is not there is not made.
  CHECK(offered(shell, "cachectl --root " + sandbox.file("none") + " show u", 4) == Words{"u"});
  CHECK_FALSE(has(lines_of(run(sandbox.shell("ls ..")).output), "none"));

  CHECK(offered(shell, "cachectl run --ttl 1h -- busyb", 5) == Words{"busybox"});
  CHECK(offered(shell, "cachectl run busyb", 2) == Words{"busybox"});
  CHECK_FALSE(has(lines_of(run(sandbox.shell("ls")).output), "oops"));
}

/// Leases and replicas of a process that lives as long as the test.
template <typename Shell>
void completes_what_is_held(Shell& shell, const Sandbox& sandbox) {
  REQUIRE(sandbox.run({"delete", "--all", "--yes"}).status == 0);
  const auto owner = std::to_string(::getpid());
  auto lease = sandbox.run({"acquire", "user", "--owner", owner}).output;
  lease.pop_back();
  CHECK(offered(shell, "cachectl release ", 2) == Words{lease});
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  auto replica = sandbox.run({"pool", "checkout", "site", "--owner", owner}).output;
  REQUIRE_FALSE(replica.empty());
  replica.pop_back();
  CHECK(offered(shell, "cachectl pool exec ", 3) == Words{"site"});
  CHECK(offered(shell, "cachectl pool checkin ", 3) == Words{replica});
  CHECK(sandbox.run({"release", lease}).status == 0);
}

}  // namespace

TEST_CASE("completion: bash completes commands, options, choices, and what the cache holds") {
  const Sandbox sandbox;
  fill(sandbox);
  auto shell = bash(sandbox);
  completes_everything(shell, sandbox);
  completes_what_is_held(shell, sandbox);
}

TEST_CASE("completion: zsh completes commands, options, choices, and what the cache holds") {
  const Sandbox sandbox;
  fill(sandbox);
  auto shell = zsh(sandbox);
  completes_everything(shell, sandbox);
  completes_what_is_held(shell, sandbox);
}

TEST_CASE("completion: fish completes commands, options, choices, and what the cache holds") {
  const Sandbox sandbox;
  fill(sandbox);
  Fish shell(sandbox);
  completes_everything(shell, sandbox);
  completes_what_is_held(shell, sandbox);
}

}  // namespace cachectl::test
