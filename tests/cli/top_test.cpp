// cachectl top, on a real terminal.
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/screen.hpp"

namespace cachectl::test {

namespace {

void configure_three(const Sandbox& sandbox) {
  configure(sandbox,
            "[entries.alpha]\nttl = \"1h\"\n[entries.beta]\nttl = \"1h\"\n"
            "[entries.gamma]\nttl = \"1h\"\nsource = [\"sh\", \"-c\", \"exit 3\"]\n");
}

/// `number` requests of `key`, all of them hits.
void hit(const Sandbox& sandbox, const std::string& key, int number) {
  REQUIRE(sandbox.run({"set", key, "v"}).status == 0);
  for (int each = 0; each < number; ++each) REQUIRE(sandbox.run({"get", key}).status == 0);
}

/// Waits until these begin lines of the screen, in this order.
bool has_order(const Screen& screen, const std::vector<std::string>& names) {
  return wait_until([&] {
    std::vector<std::string> found;
    for (const auto& line : lines_of(screen.text())) {
      for (const auto& name : names) {
        if (line.starts_with(name + " ")) found.push_back(name);
      }
    }
    return found == names;
  });
}

/// Bash that says how the terminal was before and after: all but the speed, which tmux has none
/// of.
std::string between_looks(const std::string& command) {
  return "trap : INT TERM HUP; stty -a >before; echo here before; " + command +
         "; echo \"status $?.\"; stty -a >after; cmp before after && echo \"all as before\"";
}

pid_t pid_of_top(const Sandbox& sandbox) {
  std::string pid;
  REQUIRE(wait_until([&] {
    pid = run(sandbox.shell("pgrep -f \"^$cachectl top\"")).output;
    return !pid.empty() && lines_of(pid).size() == 1;
  }));
  return std::stoi(pid);
}

}  // namespace

TEST_CASE("top: shows entries, requests and locks, and what changes, in place") {
  const Sandbox sandbox;
  configure_three(sandbox);
  hit(sandbox, "alpha", 3);
  const Screen screen(sandbox, "exec $cachectl top --interval 200ms", 80, 24);
  CHECK(screen.has("entries  1: 1 fresh, 0 stale, 0 expired"));
  CHECK(screen.has("alpha                            0.0         3 100.0 %       0"));
  CHECK(screen.has("now      0.0 requests/s"));
  Running holder(sandbox.shell("exec $cachectl lock --key alpha -- sleep 1000"));
  CHECK(screen.has("key alpha                  exclusive"));
  CHECK(screen.has("locks    1 held, 0 wait; 0 leases"));
  Running waiter(sandbox.shell("exec $cachectl set alpha w"));
  CHECK(screen.has("waits"));
  CHECK(screen.has("1 held, 1 wait"));
  holder.send(SIGTERM);
  CHECK(screen.has("locks    0 held, 0 wait"));
  hit(sandbox, "beta", 2);
  CHECK(screen.has("entries  2: 2 fresh"));
  CHECK(screen.has("beta "));
  const auto text = screen.text();
  INFO(text);
  CHECK(lines_of(text).size() == 24);
  CHECK(text.find("waits") == std::string::npos);
}

TEST_CASE("top: a cache that is removed and made anew is seen again") {
  const Sandbox sandbox;
  configure_three(sandbox);
  hit(sandbox, "alpha", 1);
  const Screen screen(sandbox, "exec $cachectl top --interval 200ms", 80, 24);
  CHECK(screen.has("entries  1: 1 fresh"));
  std::filesystem::remove_all(sandbox.root());
  CHECK(screen.has("the cache is not there yet"));
  hit(sandbox, "alpha", 1);
  hit(sandbox, "beta", 1);
  CHECK(screen.has("entries  2: 2 fresh"));
  // A configuration that is just being written changes nothing.
  configure(sandbox, "[entries.");
  write_file(sandbox.file("empty"), "");
  REQUIRE(sandbox.run({"--config", sandbox.file("empty"), "set", "k", "v"}).status == 0);
  CHECK(screen.has("entries  3: 3 fresh"));
}

TEST_CASE("top: a rate is that of the time between two looks") {
  const Sandbox sandbox;
  configure_three(sandbox);
  hit(sandbox, "alpha", 1);
  const Screen screen(sandbox, "exec $cachectl top --interval 300ms", 80, 24);
  Running load(sandbox.shell("while :; do $cachectl get alpha >/dev/null; done"));
  const auto is_busy = [&] {
    for (const auto& line : lines_of(screen.text())) {
      if (line.find("requests/s") != std::string::npos) return std::stod(line.substr(9)) > 5;
    }
    return false;
  };
  CHECK(wait_until(is_busy));
  CHECK(screen.has("100.0 % hits"));
  load.send(SIGKILL);
  CHECK(screen.has("now      0.0 requests/s, - hits"));
  // A reset is no rate below nothing, nor one of a hundred years.
  REQUIRE(sandbox.run({"stats", "--reset"}).status == 0);
  CHECK(screen.has("total                            0.0         0"));
}

TEST_CASE("top: keys sort the table, turn it round, stop it and end it") {
  const Sandbox sandbox;
  configure_three(sandbox);
  hit(sandbox, "alpha", 1);
  hit(sandbox, "beta", 5);
  hit(sandbox, "gamma", 3);
  CHECK(sandbox.run({"refresh", "gamma"}).status != 0);
  const Screen screen(sandbox, "$cachectl top --sort name; echo \"status $?.\"", 80, 24);
  CHECK(has_order(screen, {"alpha", "beta", "gamma"}));
  screen.press("t");
  CHECK(has_order(screen, {"beta", "gamma", "alpha"}));
  screen.press("-");
  CHECK(has_order(screen, {"alpha", "gamma", "beta"}));
  screen.press("Down");  // no key of ours, nor are the parts of it
  screen.press("f");
  screen.press("-");
  CHECK(has_order(screen, {"gamma", "alpha", "beta"}));
  screen.press("Space");
  CHECK(screen.has("by failed; paused"));
  screen.press("n");
  CHECK(has_order(screen, {"alpha", "beta", "gamma"}));
  screen.press("q");
  CHECK(screen.is("status 0.\n"));
}

TEST_CASE("top: a terminal that changes its size is drawn anew") {
  const Sandbox sandbox;
  configure_three(sandbox);
  hit(sandbox, std::string(70, 'k'), 1);
  const Screen screen(sandbox, "exec $cachectl top --interval 1h", 80, 24);
  CHECK(screen.has("q quit"));
  for (const auto& [columns, rows] : {std::pair(40, 10), {20, 4}, {3, 2}, {120, 50}}) {
    CAPTURE(columns, rows);
    screen.resize(columns, rows);
    CHECK(wait_until([&] {
      const auto lines = lines_of(screen.text());
      return lines.size() == static_cast<std::size_t>(rows) && lines.back().starts_with("by");
    }));
  }
  CHECK(screen.has("q quit"));
}

TEST_CASE("top: however it ends, the terminal is as it was") {
  struct End {
    std::string how;
    std::string status;
  };
  for (const auto& [how, status] :
       {End{"q", "0"}, {"C-c", "130"}, {"C-\\", "131"}, {"TERM", "143"}, {"HUP", "129"}}) {
    CAPTURE(how);
    const Sandbox sandbox;
    const Screen screen(sandbox, "ulimit -c 0; " + between_looks("$cachectl top"), 80, 24);
    CHECK(screen.has("the cache is not there yet"));
    CHECK(screen.is_second());
    CHECK_FALSE(screen.has_cursor());
    if (how == "TERM" || how == "HUP") {
      const int signal = how == "TERM" ? SIGTERM : SIGHUP;
      REQUIRE(::kill(pid_of_top(sandbox), signal) == 0);
    } else {
      screen.press("'" + how + "'");
    }
    CHECK(screen.has("all as before"));
    const auto text = screen.text();
    INFO(text);
    CHECK(text.starts_with("here before\n"));
    CHECK(text.find("status " + status + ".") != std::string::npos);
    CHECK_FALSE(screen.is_second());
    CHECK(screen.has_cursor());
  }
}

TEST_CASE("top: Ctrl-Z gives the terminal back, and fg takes it again") {
  const Sandbox sandbox;
  const Screen screen(sandbox, "set -m; " + between_looks("$cachectl top") + "; read go; fg", 80,
                      24);
  CHECK(screen.has("the cache is not there yet"));
  screen.press("C-z");
  CHECK(screen.has("all as before"));
  CHECK_FALSE(screen.is_second());
  CHECK(screen.has_cursor());
  screen.press("Enter");
  CHECK(screen.has("the cache is not there yet"));
  CHECK(screen.is_second());
  screen.press("q");
  CHECK(screen.has("here before"));
  CHECK_FALSE(screen.is_second());
}

TEST_CASE("top: what is no terminal is refused, and so are wrong options") {
  const Sandbox sandbox;
  const auto refused = sandbox.run({"top"});
  CHECK(refused.status == 2);
  CHECK(is_one_message(refused.errors));
  CHECK_THAT(refused.errors, Catch::Contains("no terminal"));
  CHECK(sandbox.run({"top", "--interval", "soon"}).status == 2);
  CHECK(sandbox.run({"top", "--interval", "1ms"}).status == 2);
  CHECK_THAT(sandbox.run({"top", "--sort", "color"}).errors, Catch::Contains("rate, requests"));
  const Screen screen(sandbox, "TERM=dumb $cachectl top; echo \"status $?.\"", 100);
  CHECK(screen.has("status 2."));
}

TEST_CASE("top: names are escaped, colour is left out on request") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.\"a\\u001b[31m\\nb\"]\nttl = \"1h\"\n");
  REQUIRE(run(sandbox.shell("$cachectl set \"$(printf 'a\\033[31m\\nb')\" v")).status == 0);
  const Screen screen(sandbox, "exec env NO_COLOR=1 $cachectl top --sort name", 80, 24);
  CHECK(screen.has("a\\x1b[31m\\nb"));
  CHECK_THAT(screen.text(), !Catch::Contains("\x1b"));
}

}  // namespace cachectl::test
