// Several keys at once: refresh, warm, get and set --batch.
#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// All keys that begin with k are made by `source`, a script for sh.
void configure_source(const Sandbox& sandbox, const std::string& source,
                      const std::string& more = "") {
  configure(sandbox, "[entries.\"k*\"]\nttl = \"1h\"\nsource = [\"" +
                         sandbox.script("source", source) + "\"]\n" + more);
}

/// For a source: ends it with status 9 unless `count` of them run at the same time.
std::string meet(int count) {
  return "mkdir -p ../here; : > ../here/$CACHECTL_KEY; n=0\n"
         "until [ $(ls ../here | wc -l) -ge " +
         std::to_string(count) +
         " ]; do n=$((n + 1)); [ $n -lt 1000 ] || exit 9; sleep 0.02; done\n";
}

std::vector<json> objects_of(const std::string& text) {
  std::vector<json> objects;
  for (const auto& line : lines_of(text)) objects.push_back(json::parse(line));
  return objects;
}

bool lives(const std::string& pid) { return fs::exists("/proc/" + pid + "/exe"); }

}  // namespace

TEST_CASE("set --batch: a failure that was stored does not become a success") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"run", "--no-store-on", "99", "--key", "k", "--", "sh", "-c", "exit 3"})
              .status == 3);
  const auto outcome = run(sandbox.shell("$cachectl get --json k | $cachectl set --batch"));
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.errors, Catch::Contains("exit_status is not 0"));
  CHECK(sandbox.run({"run", "--key", "k", "--", "true"}).status == 3);
}

TEST_CASE("refresh: the sources of several keys run side by side") {
  const Sandbox sandbox;
  configure_source(sandbox, meet(4) + "echo of $CACHECTL_KEY\n");
  const auto outcome = sandbox.run({"refresh", "k1", "k2", "k3", "k4"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors == "cachectl: refresh: refreshed 4\n");
  CHECK(sandbox.run({"get", "k2", "k4"}).output == "of k2\nof k4\n");
  CHECK(sandbox.staged().empty());
}

TEST_CASE("refresh: no more sources than --jobs run at once, and each key's once") {
  const Sandbox sandbox;
  configure_source(sandbox,
                   "mkdir -p ../live; : > ../live/$$; ls ../live | wc -l >> ../log\n"
                   "sleep 0.1; rm ../live/$$\n");
  const auto jobs = GENERATE(1, 2);
  REQUIRE(sandbox
              .run({"refresh", "--jobs", std::to_string(jobs), "k1", "k2", "k1", "k3", "k4", "k5",
                    "k6", "k2"})
              .status == 0);
  const auto seen = lines_of(content_of(sandbox.file("log")));
  CHECK(seen.size() == 6);
  CHECK(std::stoi(*std::max_element(seen.begin(), seen.end())) <= jobs);
  for (const char* wrong : {"0", "-1", "x", "1001", ""}) {
    const auto refused = sandbox.run({"refresh", "--jobs", wrong, "k1"});
    CHECK(refused.status == 2);
    CHECK(is_one_message(refused.errors));
  }
}

TEST_CASE("refresh: a failure is its key's alone, and the status that of the last one named") {
  const Sandbox sandbox;
  configure_source(sandbox,
                   "case $CACHECTL_KEY in k1) until [ -e ../third ]; do sleep 0.05; done; sleep 1\n"
                   "exit 3;; k3) : > ../third; exit 5;; "
                   "k5) kill -9 $PPID; sleep 5;; esac; echo of $CACHECTL_KEY\n");
  const auto some = sandbox.run({"refresh", "k1", "k2", "k3", "k4"});
  CHECK(some.status == 5);
  const auto said = lines_of(some.errors);
  REQUIRE(said.size() == 3);
  CHECK(said[0] == "cachectl: refresh: 'k3': the source failed with status 5");
  CHECK(said[1] == "cachectl: refresh: 'k1': the source failed with status 3");
  CHECK(said[2] == "cachectl: refresh: refreshed 2, failed 2");
  CHECK(sandbox.run({"get", "k2", "k4"}).output == "of k2\nof k4\n");
  // Its process is gone without a word.
  const auto killed = sandbox.run({"refresh", "k5", "k2"});
  CHECK(killed.status == 137);
  CHECK(killed.errors ==
        "cachectl: refresh: 'k5': its process was ended by signal 9\n"
        "cachectl: refresh: refreshed 1, failed 1\n");
  // Nothing is run when one has no source.
  const auto refused = sandbox.run({"refresh", "k6", "other"});
  CHECK(refused.status == 2);
  CHECK(is_one_message(refused.errors));
  CHECK(sandbox.run({"show", "k6"}).status == 1);
}

TEST_CASE("refresh: --json says what came of each key") {
  const Sandbox sandbox;
  configure_source(sandbox, "[ $CACHECTL_KEY != k2 ] || exit 7; sleep 0.1\n");
  REQUIRE(sandbox.run({"refresh", "k3"}).errors.empty());
  const auto outcome = sandbox.run({"refresh", "--if-expired", "--json", "k1", "k2", "k3"});
  CHECK(outcome.status == 7);
  const auto keys = objects_of(outcome.output);
  REQUIRE(keys.size() == 3);
  CHECK(keys[0]["key"] == "k1");
  CHECK(keys[0]["outcome"] == "refreshed");
  CHECK(keys[0]["status"] == 0);
  CHECK(keys[0]["seconds"] >= 0.1);
  CHECK(keys[0]["error"].is_null());
  const auto shown = json::parse(sandbox.run({"show", "--json", "k1"}).output);
  CHECK(keys[0]["generation"] == shown["generation"]);
  CHECK(keys[1]["outcome"] == "failed");
  CHECK(keys[1]["status"] == 7);
  CHECK(keys[1]["generation"].is_null());
  CHECK(keys[1]["error"] == "the source failed with status 7");
  CHECK(keys[2]["outcome"] == "fresh");
  CHECK(keys[2]["generation"].is_number());
  const auto alone = objects_of(sandbox.run({"refresh", "--json", "k2"}).output);
  REQUIRE(alone.size() == 1);
  CHECK(alone[0]["outcome"] == "failed");
}

TEST_CASE("refresh: --if-expired leaves fresh values alone, and a stale one is none") {
  const Sandbox sandbox;
  configure_source(sandbox, "[ ! -e ../broken ] || exit 7; echo run >> ../runs; echo $$\n",
                   "[entries.kstale]\nttl = \"10ms\"\nstale-while-revalidate = \"1h\"\n"
                   "[entries.kerror]\nttl = \"10ms\"\nstale-if-error = \"1h\"\n");
  REQUIRE(sandbox.run({"refresh", "k1", "kstale", "kerror"}).status == 0);
  const auto before = sandbox.run({"get", "k1"}).output;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const auto again = sandbox.run({"refresh", "--if-expired", "k1", "kstale", "kerror"});
  CHECK(again.errors == "cachectl: refresh: refreshed 2, fresh 1\n");
  CHECK(sandbox.run({"get", "k1"}).output == before);
  CHECK(lines_of(content_of(sandbox.file("runs"))).size() == 5);
  // What is stored says what it is good for, whoever has made it.
  const auto stale = sandbox.run({"get", "kstale"});
  CHECK(stale.status == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  // An old value may stand in for a failure: a warning, and no failure of the command.
  write_file(sandbox.file("broken"), "");
  const auto broken = sandbox.run({"refresh", "--if-expired", "--json", "kerror"});
  CHECK(broken.status == 0);
  CHECK(objects_of(broken.output).at(0)["outcome"] == "stale");
  CHECK(broken.errors.find("warning") != std::string::npos);
  CHECK(sandbox.run({"refresh", "kerror"}).status == 7);
}

TEST_CASE("refresh: --threshold refreshes what ends soon, with --probability") {
  const Sandbox sandbox;
  configure_source(sandbox, "echo run >> ../runs\n");
  REQUIRE(sandbox.run({"refresh", "k1"}).status == 0);
  const auto runs = [&] { return lines_of(content_of(sandbox.file("runs"))).size(); };
  const auto refresh = [&](std::vector<std::string> options) {
    options.insert(options.begin(), "refresh");
    options.emplace_back("k1");
    return sandbox.run(options).status;
  };
  CHECK(refresh({"--threshold", "30m"}) == 0);
  CHECK(runs() == 1);
  for (int each = 0; each < 5; ++each) {
    CHECK(refresh({"--threshold", "2h", "--probability", "0"}) == 0);
  }
  CHECK(runs() == 1);
  CHECK(refresh({"--threshold", "2h", "--probability", "1"}) == 0);
  CHECK(runs() == 2);
  CHECK(refresh({"--threshold", "2h"}) == 0);
  CHECK(runs() == 3);
  CHECK(refresh({"--probability", "1"}) == 2);
  CHECK(refresh({"--threshold", "soon"}) == 2);
  CHECK(refresh({"--threshold", "1h", "--probability", "2"}) == 2);
}

TEST_CASE("refresh: a signal to its group ends all, and leaves nothing staged") {
  const Sandbox sandbox;
  configure_source(sandbox,
                   "[ -z \"$CACHECTL_OUTPUT\" ] || mkdir \"$CACHECTL_OUTPUT\"\n"
                   "echo half; echo >&2; echo $$ >> ../started; while :; do sleep 0.05; done\n",
                   "[entries.ktree]\nkind = \"tree\"\n");
  Running refresh(sandbox.cachectl({"refresh", "--jobs", "3", "k1", "ktree", "k2", "k3", "k4"}));
  const auto started = [&] {
    const auto file = sandbox.file("started");
    return fs::exists(file) ? lines_of(content_of(file)) : std::vector<std::string>();
  };
  REQUIRE(wait_until([&] { return started().size() == 3; }));
  CHECK(sandbox.staged().size() >= 3);
  int expected = 0;
  SECTION("SIGINT to the group") {
    ::kill(-refresh.pid(), SIGINT);
    expected = 130;
  }
  SECTION("SIGTERM to the command alone") {
    refresh.send(SIGTERM);
    expected = 143;
  }
  const auto outcome = refresh.wait();
  CHECK(outcome.status == expected);
  CHECK(started().size() == 3);
  CHECK(sandbox.staged().empty());
  CHECK(sandbox.run({"ls"}).output.empty());
  for (const auto& pid : started()) CHECK(wait_until([&] { return !lives(pid); }));
}

TEST_CASE("refresh: its sources die with it when it is killed") {
  const Sandbox sandbox;
  configure_source(sandbox, "echo $$ >> ../started; exec sleep 60\n");
  Running refresh(sandbox.cachectl({"refresh", "k1", "k2"}));
  const auto started = [&] {
    const auto file = sandbox.file("started");
    return fs::exists(file) ? lines_of(content_of(file)) : std::vector<std::string>();
  };
  REQUIRE(wait_until([&] { return started().size() == 2; }));
  refresh.send(SIGKILL);
  for (const auto& pid : started()) CHECK(wait_until([&] { return !lives(pid); }));
  CHECK(refresh.wait().status == 137);
  configure_source(sandbox, "echo new\n");
  CHECK(sandbox.run({"get", "k1"}).output == "new\n");
}

TEST_CASE("refresh: the time to wait for a lock begins with the turn of its key") {
  const Sandbox sandbox;
  configure_source(sandbox,
                   "[ $CACHECTL_KEY = k2 ] || { sleep 2.2; (sleep 0.3; : > ../release) "
                   ">/dev/null 2>&1 & }\n");
  Running holder(sandbox.cachectl({"lock", "--key", "k2", "--", "sh", "-c",
                                   "echo; until [ -e ../release ]; do sleep 0.05; done"}));
  REQUIRE(wait_until([&] { return holder.output() == "\n"; }));
  const auto in_vain = sandbox.run({"refresh", "--timeout", "50ms", "-E", "75", "k2"});
  CHECK(in_vain.status == 75);
  CHECK(in_vain.errors.find("gave up waiting") != std::string::npos);
  CHECK(sandbox.run({"refresh", "--jobs", "1", "--timeout", "2s", "k1", "k2"}).errors ==
        "cachectl: refresh: refreshed 2\n");
}

TEST_CASE("warm: makes what is not fresh, and of --all what is to be warm") {
  const Sandbox sandbox;
  const auto source = sandbox.script("source", "echo $CACHECTL_KEY >> ../runs; echo x\n");
  const auto entry = [&](const std::string& name, const std::string& more) {
    return "[entries.\"" + name + "\"]\nttl = \"1h\"\nsource = [\"" + source + "\"]\n" + more +
           "\n";
  };
  configure(sandbox, entry("a", "warm = true") + entry("b", "") + entry("c", "warm = true") +
                         entry("d*", "") + "[entries.nothing]\nttl = \"1h\"\n");
  const auto runs = [&] { return lines_of(content_of(sandbox.file("runs"))).size(); };
  CHECK(sandbox.run({"warm", "--all"}).errors == "cachectl: warm: refreshed 2\n");
  CHECK(runs() == 2);
  CHECK(sandbox.run({"warm", "--all"}).errors == "cachectl: warm: fresh 2\n");
  CHECK(sandbox.run({"warm", "a", "b", "d1"}).errors == "cachectl: warm: refreshed 2, fresh 1\n");
  CHECK(runs() == 4);
  // Damaged is not fresh.
  const auto record =
      json::parse(sandbox.run({"show", "--json", "b"}).output)["file"].get<std::string>();
  auto bytes = content_of(record);
  bytes[bytes.size() - 2] = 'y';
  write_file(record, bytes);
  CHECK(sandbox.run({"warm", "b"}).status == 0);
  CHECK(runs() == 5);
  for (const auto& wrong : std::vector<std::vector<std::string>>{
           {"warm"}, {"warm", "--all", "a"}, {"warm", "nothing"}, {"warm", "unknown"}}) {
    const auto refused = sandbox.run(wrong);
    CHECK(refused.status == 2);
    CHECK(is_one_message(refused.errors));
  }
  configure(sandbox, "[entries.nothing]\nwarm = true\n");
  CHECK(sandbox.run({"warm", "--all"}).status == 2);
}

TEST_CASE("warm: says that there is nothing to warm, as where the wrong file is read") {
  const Sandbox sandbox;
  const auto outcome = sandbox.run({"warm", "--all"});
  CHECK(outcome.status == 0);
  CHECK(outcome.errors == "cachectl: warm: no entry has warm = true; see cachectl config path\n");
}

TEST_CASE("warm: is no use of a value") {
  const Sandbox sandbox;
  configure_source(sandbox, "echo run >> ../runs\n",
                   "[entries.k1]\nexpire-after-access = \"1s\"\n");
  REQUIRE(sandbox.run({"warm", "k1"}).status == 0);
  CHECK(wait_until([&] {
    static_cast<void>(sandbox.run({"warm", "k1"}));
    return lines_of(content_of(sandbox.file("runs"))).size() == 2;
  }));
}

TEST_CASE("get: values that miss are made side by side and printed whole, in order") {
  const Sandbox sandbox;
  configure_source(sandbox, meet(3) +
                                "case $CACHECTL_KEY in k3) sleep 0.3;; k1) sleep 0.1;; esac\n"
                                "echo $CACHECTL_KEY; seq 30000; echo note >&2\n");
  REQUIRE(sandbox.run({"set", "plain", "value\n"}).status == 0);
  const auto whole = run(sandbox.shell("for k in k3 k1 plain k2 k1; do case $k in plain) echo "
                                       "value;; *) echo $k; seq 30000;; esac; done"))
                         .output;
  const auto outcome = sandbox.run({"get", "k3", "k1", "plain", "k2", "k1"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output == whole);
  CHECK(outcome.errors == "note\nnote\nnote\n");
  CHECK(sandbox.staged().empty());
  // Hits, and a miss among them.
  CHECK(sandbox.run({"get", "k3", "k1", "missing", "plain", "k2", "k1"}).status == 1);
  fs::remove_all(sandbox.root());
  fs::remove_all(sandbox.file("here"));
  const auto objects = objects_of(sandbox.run({"get", "--json", "k2", "k3", "k1"}).output);
  REQUIRE(objects.size() == 3);
  CHECK(objects[1]["key"] == "k3");
  CHECK(objects[1]["hit"] == true);
  CHECK(objects[1]["value"].get<std::string>().starts_with("k3\n1\n2\n"));
}

TEST_CASE("get: of several sources one may fail, and its output is what it said") {
  const Sandbox sandbox;
  configure_source(sandbox,
                   "echo of $CACHECTL_KEY; case $CACHECTL_KEY in k1) exit 3;; "
                   "k2) sleep 0.2; kill -9 $PPID; sleep 5;; esac\n");
  const auto outcome = sandbox.run({"get", "k1", "k3", "k4"});
  CHECK(outcome.status == 3);
  CHECK(outcome.output == "of k1\nof k3\nof k4\n");
  const auto killed = sandbox.run({"get", "k2", "k5"});
  CHECK(killed.status == 137);
  CHECK(killed.output == "of k5\n");
  CHECK(is_one_message(killed.errors));
  const auto objects = objects_of(sandbox.run({"get", "--json", "k1", "k6", "k7"}).output);
  REQUIRE(objects.size() == 3);
  CHECK(objects[0]["hit"] == false);
  CHECK(objects[1]["value"] == "of k6\n");
}

TEST_CASE("get: Ctrl-C while several are made prints nothing and leaves nothing") {
  const Sandbox sandbox;
  configure_source(sandbox, "echo half; echo $$ >> ../started; exec sleep 60\n");
  Running get(sandbox.cachectl({"get", "k1", "k2"}));
  REQUIRE(wait_until([&] {
    const auto file = sandbox.file("started");
    return fs::exists(file) && lines_of(content_of(file)).size() == 2;
  }));
  ::kill(-get.pid(), SIGINT);
  const auto outcome = get.wait();
  CHECK(outcome.status == 130);
  CHECK(outcome.output.empty());
  CHECK(sandbox.staged().empty());
}

TEST_CASE("set --batch: takes what get --json prints") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "for size in 0 1 2 3 4 5000; do head -c $size /dev/urandom > v$size\n"
      "  $cachectl set k$size --file v$size; done\n"
      "$cachectl set \"$(printf 'new\\nline \\377')\" 'a \"quoted\" text'\n"
      "$cachectl get --json k0 k1 k2 k3 k4 k5000 \"$(printf 'new\\nline \\377')\" > all\n"
      "export CACHECTL_ROOT=$PWD/other; $cachectl set --batch < all; echo $?\n"
      "for size in 0 1 2 3 4 5000; do $cachectl get k$size | cmp - v$size || echo differs; done\n"
      "$cachectl get \"$(printf 'new\\nline \\377')\"\n"));
  CHECK(outcome.errors == "cachectl: set: set 7\n");
  CHECK(outcome.output == "0\na \"quoted\" text");
}

TEST_CASE("set --batch: a line that is wrong is said with its number, and the rest goes on") {
  const Sandbox sandbox;
  auto program = sandbox.cachectl({"set", "--batch", "--ttl", "1h"});
  program.input = R"({"key": "a", "value": "1"}

{"key": "b", "value": "2", "ttl": "never"}
{"key": "b"
["b", "3"]
{"key": "b", "value": 3}
{"key": "b", "value": "3", "tll": "1h"}
{"key": "b", "value": "3", "ttl": "soon"}
{"key": "b", "value_base64": "AAA"}
{"key": "b", "value_base64": "A=AA"}
{"key": "b", "value": "3", "value_base64": "AAAA"}
{"value": "3"}
{"key": "b"}
{"key": "", "value": "3"}
{"key": "c", "value_base64": "AP8="})";
  const auto outcome = test::run(program);
  CHECK(outcome.status == 2);
  const auto said = lines_of(outcome.errors);
  REQUIRE(said.size() == 12);
  for (std::size_t index = 0; index < 11; ++index) {
    INFO(said[index]);
    CHECK(said[index].starts_with("cachectl: set: line " + std::to_string(index + 4) + ": "));
  }
  CHECK(said[3].find("did you mean 'ttl'") != std::string::npos);
  CHECK(said[11] == "cachectl: set: set 3, failed 11");
  CHECK(sandbox.run({"get", "a", "b", "c"}).output == std::string("12\0\xff", 4));
  CHECK(json::parse(sandbox.run({"show", "--json", "b"}).output)["expires"].is_null());
  CHECK_FALSE(json::parse(sandbox.run({"show", "--json", "a"}).output)["expires"].is_null());

  program = sandbox.cachectl({"set", "--batch", "--if-absent"});
  program.input = "{\"key\": \"a\", \"value\": \"new\"}\n{\"key\": \"d\", \"value\": \"4\"}\n";
  const auto kept = test::run(program);
  CHECK(kept.status == 0);
  CHECK(kept.errors == "cachectl: set: set 1, kept 1\n");
  CHECK(sandbox.run({"get", "a", "d"}).output == "14");
  CHECK(sandbox.run({"set", "--batch", "k"}).status == 2);
  CHECK(sandbox.run({"set", "--batch", "--file", "f"}).status == 2);
}

TEST_CASE("set --batch: a line that is too long takes no memory") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "{ printf '{\"key\": \"a\", \"value\": \"'; head -c 300000000 /dev/zero | tr '\\0' x; "
      "echo '\"}'; echo '{\"key\": \"b\", \"value\": \"2\"}'; } | $cachectl set --batch; echo $?"));
  CHECK(outcome.output == "2\n");
  CHECK(outcome.errors.find("line 1: longer than 64 MiB") != std::string::npos);
  if (!is_sanitized()) CHECK(outcome.peak_kib < 250 * 1024);
  CHECK(sandbox.run({"get", "b"}).output == "2");
}

}  // namespace cachectl::test
