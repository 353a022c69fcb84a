// Values that are files or directories: set --dir, run --tree, refresh, path, verify.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// The output without the newline at its end.
std::string first_line(const Outcome& outcome) {
  const auto lines = lines_of(outcome.output);
  return lines.empty() ? std::string() : lines.front();
}

Outcome sh(const Sandbox& sandbox, const std::string& script,
           const std::vector<std::string>& environment = {}) {
  auto program = sandbox.shell(script);
  program.environment.insert(program.environment.end(), environment.begin(), environment.end());
  return run(program);
}

/// Names, types, modes, link counts, times, link targets and checksums of all below.
constexpr const char* kDescribe =
    "describe() { (cd \"$1\" && find . -printf '%P %y %m %n %T@ %l\\n' | sort && "
    "find . -type f -exec cksum {} + | sort -k3); }; ";

std::vector<std::string> generations(const Sandbox& sandbox) {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& key : fs::directory_iterator(sandbox.root() + "/trees", missing)) {
    for (const auto& generation : fs::directory_iterator(key.path())) {
      names.push_back(generation.path().filename());
    }
  }
  return names;
}

}  // namespace

TEST_CASE("tree: set --dir stores a copy of a directory with all that makes it up") {
  const Sandbox sandbox;
  const auto made = sh(sandbox,
                       "mkdir -p in/a/empty in/b && printf hello > in/a/file && ln in/a/file "
                       "in/b/hard && ln -s ../a/file in/b/soft && ln -s /nowhere in/dangling && "
                       "chmod 750 in/a && chmod 4755 in/a/file && touch -d '2001-02-03 04:05:06.7' "
                       "in/a/file in/a && touch 'in/na\nme' && chmod 555 in/b");
  REQUIRE(made.status == 0);
  REQUIRE(sandbox.run({"set", "k", "--dir", "in"}).status == 0);
  const auto path = sandbox.run({"path", "k"});
  REQUIRE(path.status == 0);
  CHECK(path.errors.empty());
  const auto compared = sh(
      sandbox, std::string(kDescribe) +
                   "describe in > 1; describe \"$($cachectl path k)\" > 2; diff 1 2 && wc -l < 1");
  CHECK(compared.output != "0\n");
  CHECK(compared.status == 0);
  // A copy: what happens to the original does not matter.
  REQUIRE(sh(sandbox, "chmod 755 in/b; rm -r in").status == 0);
  CHECK(sandbox.run({"verify", "k"}).status == 0);
  CHECK(fs::exists(first_line(path) + "/a/empty"));
  CHECK(sandbox.staged().empty());
}

TEST_CASE("tree: a single file is a value too") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "echo tool > tool && chmod 755 tool").status == 0);
  REQUIRE(sandbox.run({"set", "k", "--dir", "tool"}).status == 0);
  CHECK(sh(sandbox, "cat \"$($cachectl path k)\"; stat -c %a \"$($cachectl path k)\"").output ==
        "tool\n755\n");
}

TEST_CASE("tree: the source of run --tree makes it at $CACHECTL_OUTPUT, once") {
  const Sandbox sandbox;
  const auto source =
      sandbox.script("source",
                     "echo ran >> ../log\necho to standard output\necho to standard error >&2\n"
                     "test ! -e \"$CACHECTL_OUTPUT\" && test -z \"$CACHECTL_PREVIOUS\" && mkdir "
                     "\"$CACHECTL_OUTPUT\" && "
                     "echo $CACHECTL_KEY > \"$CACHECTL_OUTPUT/key\"\n");
  const auto first = sandbox.run({"run", "--tree", "--key", "k", "--", source});
  CHECK(first.status == 0);
  CHECK(lines_of(first.output).size() == 1);
  CHECK(first.errors == "to standard output\nto standard error\n");
  CHECK(content_of(first_line(first) + "/key") == "k\n");
  const auto second = sandbox.run({"run", "--tree", "--key", "k", "--", source});
  CHECK(second.output == first.output);
  CHECK(second.errors == first.errors);
  CHECK(sandbox.run({"path", "k"}).output == first.output);
  CHECK(content_of(sandbox.file("log")) == "ran\n");
}

TEST_CASE("tree: twenty at once share one run, and one failure") {
  const Sandbox sandbox;
  const auto source = sandbox.script(
      "source",
      "echo ran >> ../log; until [ -e ../go-$1 ]; do sleep 0.02; done; mkdir $CACHECTL_OUTPUT; "
      "echo x > $CACHECTL_OUTPUT/x; exit $1\n");
  const auto outcomes = [&](const std::string& key, const std::string& status) {
    std::vector<Running> all;
    for (int each = 0; each < 20; ++each) {
      all.emplace_back(sandbox.cachectl({"run", "--tree", "--key", key, "--", source, status}));
    }
    // Who came when the source has failed would run it again.
    REQUIRE(wait_until([&] {
      return std::count_if(all.begin(), all.end(),
                           [](const auto& one) { return waits_for_lock(one.pid()); }) == 19;
    }));
    write_file(sandbox.file("go-" + status), "");
    std::set<std::pair<int, std::string>> kinds;
    for (auto& one : all) {
      const auto outcome = one.wait();
      kinds.emplace(outcome.status, outcome.output);
    }
    return kinds;
  };
  const auto made = outcomes("k", "0");
  REQUIRE(made.size() == 1);
  CHECK(made.begin()->first == 0);
  CHECK(made.begin()->second.starts_with("/"));
  CHECK(content_of(sandbox.file("log")) == "ran\n");
  CHECK(outcomes("l", "3") == std::set<std::pair<int, std::string>>{{3, ""}});
  CHECK(content_of(sandbox.file("log")) == "ran\nran\n");
  CHECK(sandbox.run({"path", "l"}).status == 1);
}

TEST_CASE("tree: ls and show tell the size, also when it was not modified") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.made]\nkind = \"tree\"\nttl = \"1h\"\nnot-modified = 77\nshell = true\n"
            "source = '''test -z \"$CACHECTL_PREVIOUS\" || exit 77\n"
            "mkdir \"$CACHECTL_OUTPUT\"; head -c 2000 /dev/zero >\"$CACHECTL_OUTPUT/x\"'''\n");
  const auto outcome =
      run(sandbox.shell("mkdir -p in/d; head -c 300 /dev/zero >in/x; echo 1 >in/d/y; ln in/x in/z\n"
                        "$cachectl set stored --dir in; $cachectl set file --dir in/x\n"
                        "$cachectl refresh made; $cachectl refresh made\n"
                        "$cachectl ls | cut -f1,4; $cachectl show made | grep ^size\n"
                        "$cachectl show made --json | grep -o '\"size\":[0-9]*'"));
  CHECK(outcome.errors.empty());
  CHECK(outcome.output ==
        "file\t300\nmade\t2000\nstored\t302\nsize          1.9 KiB\n\"size\":2000\n");
}

TEST_CASE("refresh: bytes that were not modified live on as they are, with a new TTL") {
  const Sandbox sandbox;
  configure(
      sandbox,
      "[entries.k]\nttl = \"1h\"\nnot-modified = 77\nshell = true\n"
      "source = 'test ! -e same || { echo noise; echo more noise >&2; exit 77; }; echo warned "
      ">&2; seq 100000'\n");
  const auto outcome = run(sandbox.shell(
      "touch same; $cachectl refresh k 2>/dev/null; echo $?; $cachectl show k; echo $?\n"
      "rm same; $cachectl refresh k; a=$($cachectl show k --json); touch same\n"
      "$cachectl refresh k 2>/dev/null; echo $?; $cachectl get k | cksum; seq 100000 | cksum\n"
      "generation() { sed 's/.*\"generation\":\\([0-9]*\\).*/\\1/'; }\n"
      "test $(echo $a | generation) -lt $($cachectl show k --json | generation); echo $?\n"
      "$cachectl run --key k -- false 2>&1 >/dev/null; $cachectl verify k; echo $?\n"
      "$cachectl show k | grep '^stderr size'\n"
      // Whoever asks once it has expired gets it, and none of the output of the source.
      "sed -i s/1h/1ms/ cachectl.toml; $cachectl get k 2>err | cksum; tail -n 1 err\n"
      // What is damaged does not hold.
      "echo x | dd of=\"$(echo $CACHECTL_ROOT/entries/*/*)\" bs=1 seek=400 conv=notrunc "
      "2>/dev/null\n"
      "$cachectl refresh k 2>/dev/null; echo $?; $cachectl verify k >/dev/null; echo $?"));
  const auto sum = run(sandbox.shell("seq 100000 | cksum")).output;
  CHECK(outcome.output ==
        "77\n1\n0\n" + sum + sum + "0\nwarned\n0\nstderr size   7 B\n" + sum + "warned\n77\n1\n");
}

TEST_CASE("tree: refresh makes what is configured, from what was there before") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.plugins]\nkind = \"tree\"\nttl = \"1h\"\nnot-modified = 77\nshell = true\n"
            "source = '''\ntest ! -e ../same || exit 77\n"
            "if [ -n \"$CACHECTL_PREVIOUS\" ]; then cp -a \"$CACHECTL_PREVIOUS\" "
            "\"$CACHECTL_OUTPUT\"; else mkdir \"$CACHECTL_OUTPUT\"; fi\n"
            "echo $CACHECTL_GENERATION >> \"$CACHECTL_OUTPUT/log\"'''\n");
  // Nobody has asked for it: path makes it.
  const auto made = sandbox.run({"path", "plugins"});
  REQUIRE(made.status == 0);
  CHECK(sandbox.run({"path", "plugins"}).output == made.output);
  CHECK(lines_of(content_of(first_line(made) + "/log")).size() == 1);
  const auto refreshed = sandbox.run({"refresh", "plugins"});
  CHECK(refreshed.status == 0);
  CHECK(refreshed.output.empty());
  const auto second = sandbox.run({"path", "plugins"});
  CHECK(second.output != made.output);
  CHECK(lines_of(content_of(first_line(second) + "/log")).size() == 2);
  // The old one is untouched, and the link follows.
  CHECK(lines_of(content_of(first_line(made) + "/log")).size() == 1);
  CHECK(fs::canonical(sandbox.root() + "/links/plugins") == fs::canonical(first_line(second)));

  std::ofstream(sandbox.file("same")) << "";
  const auto before = sandbox.run({"show", "plugins", "--json"}).output;
  CHECK(sandbox.run({"refresh", "plugins"}).status == 0);
  CHECK(sandbox.run({"path", "plugins"}).output == second.output);
  CHECK(sandbox.run({"show", "plugins", "--json"}).output != before);
  CHECK(generations(sandbox).size() == 2);
}

TEST_CASE("tree: what a source must not do is one clear line, and the old value stays") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in && echo old > in/x && $cachectl set k --dir in").status == 0);
  const auto path = sandbox.run({"path", "k"}).output;
  const auto attempt = [&](const std::string& script) {
    const auto source = sandbox.script("source", script);
    const auto outcome = sandbox.run({"run", "--force", "--tree", "--key", "k", "--", source});
    CAPTURE(script, outcome.errors);
    CHECK(outcome.status == 125);
    CHECK(outcome.output.empty());
    CHECK(is_one_message(outcome.errors));
    CHECK(sandbox.run({"path", "k"}).output == path);
    CHECK(sandbox.staged().empty());
    return outcome.errors;
  };
  CHECK(attempt("exit 0\n").find("$CACHECTL_OUTPUT") != std::string::npos);
  CHECK(attempt("mkdir ../elsewhere; echo x > ../elsewhere/x\n").find("nothing was made") !=
        std::string::npos);
  CHECK(attempt("ln -s /etc $CACHECTL_OUTPUT\n").find("symbolic link") != std::string::npos);
  CHECK(attempt("mkdir $CACHECTL_OUTPUT; mkfifo $CACHECTL_OUTPUT/pipe\n").find("pipe") !=
        std::string::npos);
  CHECK(attempt("mkdir $CACHECTL_OUTPUT; (while test -d $CACHECTL_OUTPUT; do sleep 0.1; done) "
                ">/dev/null 2>&1 &\n")
            .find("left processes behind") != std::string::npos);
  // A failing one is what it is.
  const auto failing = sandbox.script("source", "mkdir $CACHECTL_OUTPUT; exit 9\n");
  CHECK(sandbox.run({"run", "--force", "--tree", "--key", "k", "--", failing}).status == 9);
  CHECK(sandbox.run({"path", "k"}).output == path);
  CHECK(sandbox.staged().empty());
}

TEST_CASE("tree: each kind of value says how to get at it") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; $cachectl set tree --dir in; $cachectl set bytes x").status == 0);
  const auto got = sandbox.run({"get", "tree"});
  CHECK(got.status == 2);
  CHECK(got.errors.find("cachectl path") != std::string::npos);
  const auto path = sandbox.run({"path", "bytes"});
  CHECK(path.status == 2);
  CHECK(path.errors.find("cachectl get") != std::string::npos);
  CHECK(sandbox.run({"path", "missing"}).status == 1);
  const auto refresh = sandbox.run({"refresh", "missing"});
  CHECK(refresh.status == 2);
  CHECK(is_one_message(refresh.errors));
  CHECK(sandbox.run({"set", "k", "--dir", "/dev"}).status != 0);
  CHECK(sandbox.run({"set", "k", "--dir", "nowhere"}).status == 125);
}

TEST_CASE("tree: a value of bytes in its place takes the link and leaves the tree to its readers") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; echo x > in/x; $cachectl set k --dir in").status == 0);
  const auto path = first_line(sandbox.run({"path", "k"}));
  REQUIRE(fs::is_symlink(sandbox.root() + "/links/k"));
  REQUIRE(sandbox.run({"set", "k", "bytes"}).status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "bytes");
  CHECK_FALSE(fs::is_symlink(sandbox.root() + "/links/k"));
  CHECK(fs::exists(path + "/x"));
  CHECK(sh(sandbox, "$cachectl gc", {"CACHECTL_TREES_RETAIN_FOR=0"}).status == 0);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("tree: superseded generations stay by number and by time, pinned ones in any case") {
  const Sandbox sandbox;
  const std::vector<std::string> at_once{"CACHECTL_TREES_RETAIN_FOR=0", "CACHECTL_TREES_RETAIN=1"};
  REQUIRE(
      sh(sandbox, "mkdir in; for i in 1 2 3 4; do echo $i > in/x; $cachectl set k --dir in; done")
          .status == 0);
  CHECK(generations(sandbox).size() == 4);
  CHECK(sh(sandbox, "$cachectl gc", {"CACHECTL_TREES_RETAIN_FOR=0"}).status == 0);
  CHECK(generations(sandbox).size() == 2);

  const auto outcome = sh(
      sandbox,
      "$cachectl path k --pin -- sh -c '\n"
      "  for i in 5 6 7; do echo $i > in/x; \"$cachectl\" set k --dir in; \"$cachectl\" gc; done\n"
      "  cat \"$CACHECTL_PATH/x\"' && $cachectl gc >/dev/null; cat \"$($cachectl path k)/x\"",
      at_once);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.output).back() == "7");
  CHECK(outcome.output.find("\n4\n") != std::string::npos);
  CHECK(generations(sandbox).size() == 1);
}

TEST_CASE("tree: the pin lasts as long as the command, though its wrapper is killed") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; echo 1 > in/x; $cachectl set k --dir in").status == 0);
  const auto outcome =
      sh(sandbox,
         "mkfifo ready go\n"
         "$cachectl path k --pin -- sh -c 'echo $CACHECTL_PATH > ready; read line < go; "
         "cat $CACHECTL_PATH/x > "
         "seen' & wrapper=$!\n"
         "read path < ready; kill -9 $wrapper\n"
         "echo 2 > in/x; $cachectl set k --dir in; $cachectl gc > /dev/null\n"
         "test -e $path/x && echo kept; echo > go; while ! test -s seen; do sleep "
         "0.01; done; cat seen\n"
         "while test -e $path; do $cachectl gc > /dev/null; done; echo gone",
         {"CACHECTL_TREES_RETAIN_FOR=0", "CACHECTL_TREES_RETAIN=1"});
  CHECK(outcome.output == "kept\n1\ngone\n");
}

TEST_CASE("tree: delete takes the record and the link at once, and the tree after a while") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; echo 1 > in/x; $cachectl set 'a/b .c' --dir in").status == 0);
  const auto path = first_line(sandbox.run({"path", "a/b .c"}));
  CHECK(fs::is_symlink(sandbox.root() + "/links/a%2Fb%20.c"));
  CHECK(sandbox.run({"delete", "a/b .c"}).status == 0);
  CHECK_FALSE(fs::is_symlink(sandbox.root() + "/links/a%2Fb%20.c"));
  CHECK(sandbox.run({"path", "a/b .c"}).status == 1);
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK(fs::exists(path + "/x"));
  CHECK(sh(sandbox, "$cachectl gc", {"CACHECTL_TREES_RETAIN_FOR=0"}).status == 0);
  CHECK(generations(sandbox).empty());
}

TEST_CASE("tree: verify finds what was changed, by name") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; echo 1 > in/x; echo 2 > in/y; $cachectl set k --dir in").status ==
          0);
  const auto path = first_line(sandbox.run({"path", "k"}));
  CHECK(sandbox.run({"verify", "k"}).status == 0);
  REQUIRE(sh(sandbox, "t=$(stat -c %y " + path + "/x); echo 9 > " + path + "/x; touch -d \"$t\" " +
                          path + "/x; rm " + path + "/y; touch " + path + "/z")
              .status == 0);
  const auto found = sandbox.run({"verify", "k"});
  CHECK(found.status == 1);
  CHECK(found.output.find("/x: content") != std::string::npos);
  CHECK(found.output.find("/y: missing") != std::string::npos);
  CHECK(found.output.find("/z: extra") != std::string::npos);
  CHECK(sandbox.run({"verify", "none"}).status == 1);
  REQUIRE(sandbox.run({"set", "b", "bytes"}).status == 0);
  CHECK(sandbox.run({"verify", "b"}).status == 0);
  REQUIRE(sh(sandbox,
             "printf X | dd of=$(ls $CACHECTL_ROOT/entries/*/* | xargs grep -l bytes) "
             "bs=1 seek=130 conv=notrunc 2>/dev/null")
              .status == 0);
  CHECK(sandbox.run({"verify", "b"}).status == 1);
}

TEST_CASE("tree: readers see one generation whole, while it is refreshed and cleaned up") {
  const Sandbox sandbox;
  // Each file of a generation holds its number.
  const auto source = sandbox.script("source",
                                     "mkdir $CACHECTL_OUTPUT; cd $CACHECTL_OUTPUT; n=$1\n"
                                     "for i in $(seq 200); do echo $n > $i; done\n");
  const auto outcome =
      sh(sandbox,
         "refresh() { $cachectl run --force --durability none --tree --key k -- " + source +
             " $1 > /dev/null; }\n"
             "refresh 0\n"
             "for r in 1 2 3 4; do ( while ! test -e ../stop; do\n"
             "  $cachectl path k --pin -- sh -c 'cd $CACHECTL_PATH && "
             "echo $(cat [0-9]* | sort -u | wc -l) $(ls | wc -l)'\n"
             "done ) > seen.$r 2>&1 & done\n"
             "for i in $(seq 12); do refresh $i; $cachectl gc > /dev/null; done\n"
             "touch ../stop; wait; cat seen.* | sort -u",
         {"CACHECTL_TREES_RETAIN_FOR=0", "CACHECTL_TREES_RETAIN=1"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output == "1 200\n");
}

TEST_CASE("tree: a value that was removed by hand is made again, and its path not printed") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.t]\nsource = [\"sh\", \"-c\", "
            "\"mkdir $CACHECTL_OUTPUT && date > $CACHECTL_OUTPUT/x\"]\n"
            "kind = \"tree\"\nttl = \"1h\"\n");
  const auto outcome = sh(sandbox,
                          "mkdir in; $cachectl set k --dir in; rmdir $($cachectl path k)\n"
                          "$cachectl path k; echo $?\n"
                          "rm -r $($cachectl path t); ls $($cachectl path t)");
  CHECK(outcome.output == "1\nx\n");
}

TEST_CASE("tree: run leaves a fresh value of the other kind alone, unless it is told to") {
  const Sandbox sandbox;
  const auto outcome =
      sh(sandbox,
         "mkdir in; $cachectl set t --dir in; $cachectl set b bytes\n"
         "$cachectl run --key t -- echo no 2>err; echo $?; grep -c \"'t' is a file or dir\" err\n"
         "$cachectl run --tree --key b -- mkdir no; echo $?\n"
         "test -d $($cachectl path t) && $cachectl get b\n"
         "$cachectl run --force --key t -- echo yes; $cachectl get t");
  CHECK(outcome.output == "2\n1\n2\nbytesyes\nyes\n");
}

TEST_CASE("tree: a directory that the cache is in is not stored") {
  const Sandbox sandbox;
  const auto outcome =
      sh(sandbox,
         "export CACHECTL_ROOT=$PWD/project/.cache; mkdir -p project $CACHECTL_ROOT\n"
         "$cachectl set k --dir project 2>err; echo $?; grep -c 'the cache is in it' err\n"
         "ln -s project other; $cachectl set k --dir other; echo $?\n"
         "$cachectl set k --dir $CACHECTL_ROOT; echo $?\n"
         "mkdir project/.cache-not; $cachectl set k --dir project/.cache-not; echo $?");
  CHECK(outcome.output == "2\n1\n2\n2\n0\n");
}

TEST_CASE("tree: what a killed command has staged is removed, and its size told") {
  const Sandbox sandbox;
  const auto outcome =
      sh(sandbox,
         "$cachectl run --key k --tree -- sh -c 'mkdir $CACHECTL_OUTPUT; "
         "head -c 3000 /dev/zero > $CACHECTL_OUTPUT/x; kill -9 $PPID' || :\n"
         "until $cachectl gc --dry-run | grep 'remove 2 abandoned.*2.9 KiB'; do sleep 0.01; done\n"
         "$cachectl gc | grep 'removed 2 abandoned.*2.9 KiB'\n"
         "ls $CACHECTL_ROOT/tmp");
  CHECK(outcome.output ==
        "would remove 2 abandoned temporary files (2.9 KiB)\n"
        "removed 2 abandoned temporary files (2.9 KiB)\n");
}

TEST_CASE("tree: an older or foreign generation directory does no harm") {
  const Sandbox sandbox;
  REQUIRE(sh(sandbox, "mkdir in; $cachectl set k --dir in").status == 0);
  const auto path = fs::path(first_line(sandbox.run({"path", "k"})));
  // The generation is gone: a miss, and made anew.
  fs::rename(path.parent_path(), path.parent_path().string() + "-away");
  const auto lost = sandbox.run({"path", "k"});
  CHECK(lost.status == 1);
  CHECK(is_one_message(lost.errors));
  CHECK(sandbox.run({"verify", "k"}).status == 1);
  CHECK(sandbox.run({"gc"}).status == 0);
  REQUIRE(sh(sandbox, "$cachectl set k --dir in").status == 0);
  CHECK(sandbox.run({"path", "k"}).status == 0);
}

}  // namespace cachectl::test
