// Replicas: pool exec, checkout, checkin, list, resize, reset, drain.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

Outcome sh(const Sandbox& sandbox, const std::string& script) { return run(sandbox.shell(script)); }

/// A cache with the directory value k of two files, and a pool of `most`.
void fill(const Sandbox& sandbox, unsigned most, const std::string& more = "") {
  configure(sandbox, "[entries.k.pool]\nsize = 0\nmax = " + std::to_string(most) + "\n" + more);
  REQUIRE(sh(sandbox, "mkdir -p in/d; echo 1 > in/x; echo 2 > in/d/y; $cachectl set k --dir in")
              .status == 0);
}

/// How many locks are held in the one pool: of replicas that are lent, and of places in its queue.
std::size_t locks_of_pool(const Sandbox& sandbox) {
  struct stat status {};
  for (const auto& pool : fs::directory_iterator(sandbox.root() + "/pools")) {
    REQUIRE(::stat((pool.path() / "pool.lock").c_str(), &status) == 0);
  }
  const auto inode = ":" + std::to_string(status.st_ino) + " ";
  std::size_t count = 0;
  for (const auto& line : lines_of(content_of("/proc/locks"))) {
    const bool is_held = line.find("->") == std::string::npos;
    if (is_held && line.find(inode) != std::string::npos) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("pool: exec gives a command a copy of its own, by overlay and by copying") {
  for (const char* way : {"auto", "copy", "reflink", "overlay"}) {
    CAPTURE(way);
    const Sandbox sandbox;
    fill(sandbox, 2, "copy = \"" + std::string(way) + "\"\n");
    const auto outcome =
        sh(sandbox,
           "$cachectl pool exec k -- sh -c 'cd $CACHECTL_REPLICA && cat x d/y && echo 3 > x && rm "
           "d/y && touch new && ls -A'; echo $?; cat \"$($cachectl path k)/x\"");
    if (std::string(way) == "reflink" && outcome.output == "125\n1\n") continue;  // ext4
    if (std::string(way) == "overlay" && outcome.output == "125\n1\n") {
      WARN("overlays cannot be mounted here");
      continue;
    }
    CHECK(outcome.errors.empty());
    CHECK(outcome.output == "1\n2\nd\nnew\nx\n0\n1\n");
    // The next one finds it like new.
    CHECK(sh(sandbox, "$cachectl pool exec k -- sh -c 'cd $CACHECTL_REPLICA && cat x d/y; ls -A'")
              .output == "1\n2\nd\nx\n");
  }
}

TEST_CASE("pool: exec returns the status of the command, and gives the replica back") {
  const Sandbox sandbox;
  fill(sandbox, 1);
  CHECK(sandbox.run({"pool", "exec", "k", "--", "sh", "-c", "exit 7"}).status == 7);
  CHECK(sandbox.run({"pool", "exec", "k", "--", "nowhere-to-be-found"}).status == 127);
  const auto listed = sandbox.run({"pool", "list", "k"});
  CHECK(listed.status == 0);
  CHECK(listed.output.find(" 1  free ") != std::string::npos);
}

TEST_CASE("pool: a replica is brought up to date when it is taken, and only what differs") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto inode = [&] {
    return sh(sandbox,
              "$cachectl pool exec k -- sh -c 'stat -c %i $CACHECTL_REPLICA/x; cat "
              "$CACHECTL_REPLICA/d/y'")
        .output;
  };
  const auto before = inode();
  REQUIRE(sh(sandbox, "echo 22 > in/d/y; $cachectl set k --dir in").status == 0);
  const auto after = inode();
  CHECK(lines_of(before).at(1) == "2");
  CHECK(lines_of(after).at(1) == "22");
  CHECK(lines_of(before).at(0) == lines_of(after).at(0));  // x was left alone
}

TEST_CASE("pool: the value itself is made only when it has expired and somebody asks, once") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.k]\nkind = \"tree\"\nttl = \"1h\"\nshell = true\n"
            "source = 'echo ran >> ../log; sleep 0.3; mkdir $CACHECTL_OUTPUT; echo $$ > "
            "$CACHECTL_OUTPUT/x'\n[entries.k.pool]\nmax = 4\n");
  const auto outcome = sh(sandbox,
                          "for i in $(seq 12); do $cachectl pool exec k -- sh -c 'cat "
                          "$CACHECTL_REPLICA/x' & done | sort | uniq -c");
  CHECK(lines_of(outcome.output).size() == 1);
  CHECK(outcome.output.find(" 12 ") != std::string::npos);
  CHECK(content_of(sandbox.file("log")) == "ran\n");
}

TEST_CASE("pool: whoever finds none waits in order, and names the holders when he gives up") {
  const Sandbox sandbox;
  fill(sandbox, 1);
  REQUIRE(sh(sandbox, "mkfifo go").status == 0);
  const auto exec = [&](const std::string& script) {
    return Running(sandbox.shell("exec $cachectl pool exec k -- sh -c '" + script + "'"));
  };
  std::vector<Running> all;
  all.push_back(exec("read line < go; echo 1 >> ../order"));
  REQUIRE(wait_until([&] {
    return sandbox.run({"pool", "list", "k"}).output.find("leased") != std::string::npos;
  }));
  const auto late = sandbox.run({"pool", "exec", "k", "--timeout", "100ms", "--", "true"});
  CHECK(late.status == 124);
  CHECK(late.errors.find("sh -c") != std::string::npos);
  CHECK(late.errors.find("pool.max") != std::string::npos);
  const auto lent = locks_of_pool(sandbox);
  for (std::size_t each = 2; each <= 5; ++each) {
    all.push_back(exec("echo " + std::to_string(each) + " >> ../order; sleep 0.05"));
    // A single look may count one twice, as the kernel lists the locks in parts.
    REQUIRE(wait_until_steady([&] { return locks_of_pool(sandbox) == lent + each - 1; }));
  }
  REQUIRE(sh(sandbox, "echo > go").status == 0);
  for (auto& each : all) CHECK(each.wait().status == 0);
  CHECK(content_of(sandbox.file("order")) == "1\n2\n3\n4\n5\n");
}

TEST_CASE("pool: when only the wrapper is killed, the replica stays its command's") {
  const Sandbox sandbox;
  fill(sandbox, 1);
  const auto outcome =
      sh(sandbox,
         "mkfifo ready go\n"
         "$cachectl pool exec k -- sh -c 'echo mine > $CACHECTL_REPLICA/x; echo $$ > "
         "ready; read line < go; cat "
         "$CACHECTL_REPLICA/x > ../seen' & wrapper=$!\n"
         "read pid < ready\n"
         "until $cachectl pool list k | grep -q \"pid $pid (sh\"; do sleep 0.05; done\n"
         "kill -9 $wrapper\n"
         "$cachectl pool list k | grep -c \"pid $pid (sh\"\n"
         "$cachectl pool exec k --timeout 100ms -- true 2>/dev/null; echo $?\n"
         "echo > go; $cachectl pool exec k -- cat ../seen");
  CHECK(outcome.output == "1\n124\nmine\n");
}

TEST_CASE("pool: a replica whose filling was cut off is filled anew") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto path =
      lines_of(sh(sandbox, "$cachectl pool exec k -- sh -c 'echo $CACHECTL_REPLICA'").output).at(0);
  REQUIRE(sh(sandbox, "sed -i 's/status=ready/status=filling/' " + path +
                          "/../state; truncate -s 2048 " + path + "/../state; rm " + path + "/x")
              .status == 0);
  CHECK(sandbox.run({"pool", "list", "k"}).output.find("broken") != std::string::npos);
  CHECK(sh(sandbox, "$cachectl pool exec k -- sh -c 'cat $CACHECTL_REPLICA/x'").output == "1\n");
  // One that its user deleted, too.
  REQUIRE(sh(sandbox, "rm -r " + path).status == 0);
  CHECK(sh(sandbox, "$cachectl pool exec k -- sh -c 'cat $CACHECTL_REPLICA/x'").output == "1\n");
  REQUIRE(sh(sandbox, "rm -r $(dirname " + path + ")").status == 0);
  CHECK(sh(sandbox, "$cachectl pool exec k -- sh -c 'cat $CACHECTL_REPLICA/x'").output == "1\n");
}

TEST_CASE("pool: reset says whether the next owner sees what the last one changed") {
  const auto second = [](const std::string& reset) {
    const Sandbox sandbox;
    fill(sandbox, 1, "copy = \"copy\"\nreset = \"" + reset + "\"\n");
    REQUIRE(sandbox
                .run({"pool", "exec", "k", "--", "sh", "-c",
                      "echo mine > $CACHECTL_REPLICA/x; stat -c '%i %z' "
                      "$CACHECTL_REPLICA/d/y > ../stamp"})
                .status == 0);
    // d/y was left alone by its user; is it by the reset?
    return sh(sandbox,
              "$cachectl pool exec k -- sh -c 'cat $CACHECTL_REPLICA/x; stat -c \"%i %z\" "
              "$CACHECTL_REPLICA/d/y | cmp -s - ../stamp && echo same'")
        .output;
  };
  CHECK(second("never") == "mine\nsame\n");
  CHECK(second("dirty") == "1\nsame\n");
  CHECK(second("always") == "1\n");
}

TEST_CASE("pool: resize makes and removes idle replicas, reset mends them, drain waits for all") {
  const Sandbox sandbox;
  fill(sandbox, 4, "copy = \"copy\"\n");
  const auto states = [&] {
    return sh(sandbox, "$cachectl pool list k | awk '{print $2}' | tr '\\n' ' '").output;
  };
  CHECK(sandbox.run({"pool", "resize", "k", "3"}).status == 0);
  CHECK(states() == "free free free ");
  CHECK(sandbox.run({"pool", "resize", "k", "1"}).status == 0);
  CHECK(states() == "free empty empty ");
  CHECK(sandbox.run({"pool", "resize", "k", "none"}).status == 2);
  REQUIRE(
      sandbox.run({"pool", "exec", "k", "--", "sh", "-c", "echo 9 > $CACHECTL_REPLICA/x"}).status ==
      0);
  CHECK(states() == "dirty empty empty ");
  CHECK(sandbox.run({"pool", "reset", "k"}).status == 0);
  CHECK(states() == "free empty empty ");
  const auto outcome = sh(sandbox,
                          "mkfifo go; $cachectl pool exec k -- cat go > /dev/null &\n"
                          "until $cachectl pool list k | grep -q leased; do sleep 0.01; done\n"
                          "$cachectl pool resize k 0 2>err; grep -c 'replica 1 .* is in use' err\n"
                          "$cachectl pool drain k --timeout 100ms 2>/dev/null; echo $?\n"
                          "echo > go; $cachectl pool drain k; echo $?");
  CHECK(outcome.output == "1\n124\n0\n");
  CHECK(states() == "empty empty empty ");
}

TEST_CASE("pool: drain does not wait for its own shell or command, and says whom it waits for") {
  const Sandbox sandbox;
  fill(sandbox, 2, "copy = \"copy\"\n");
  const auto outcome =
      sh(sandbox,
         "a=$($cachectl pool checkout k)\n"
         "$cachectl pool drain k 2>err; echo $?; grep -c 'replica 1 .*checkin' err; wc -l <err\n"
         "out=$($cachectl pool drain k 2>&1); echo $?\n"
         "sh -c '$cachectl pool drain k --timeout 50ms 2>err; echo $?; :'\n"
         "grep -c 'held: replica 1 by' err; $cachectl pool checkin $a\n"
         "$cachectl pool exec k -- sh -c '$cachectl pool drain k' 2>err; echo $?; "
         "grep -c 'itself: it runs with replica 1 ' err\n"
         "$cachectl pool drain k; echo $?");
  CHECK(outcome.output == "2\n1\n1\n2\n124\n1\n2\n1\n0\n");
}

TEST_CASE("pool: a command that has the only replica does not wait for another one") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto outcome = sh(sandbox,
                          "$cachectl pool exec k -- sh -c '$cachectl pool exec k -- true' 2>err\n"
                          "echo $?; grep -c 'itself: it runs with the only replica' err\n"
                          "CACHECTL_REPLICA=$PWD $cachectl pool exec k -- true; echo $?");
  CHECK(outcome.output == "2\n1\n0\n");
}

TEST_CASE("pool: drain waits for an owner whose holder was killed, and knows its own shell") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto outcome = sh(
      sandbox,
      "sh -c 'a=$($cachectl pool checkout k); kill -9 $(sed -n s/^holder=//p "
      "$CACHECTL_ROOT/leases/*[0-9a-f]); touch ready; until test -e go; do sleep 0.05; done; :' &\n"
      "until test -e ready; do sleep 0.01; done\n"
      "$cachectl pool drain k --timeout 100ms 2>/dev/null; echo $?\n"
      "(sleep 0.3; touch go) & $cachectl pool drain k --timeout 20s; echo $?; wait\n"
      "a=$($cachectl pool checkout k); kill -9 $(sed -n s/^holder=//p "
      "$CACHECTL_ROOT/leases/*[0-9a-f])\n"
      "$cachectl pool drain k 2>&1 | grep -c 'this shell has'; $cachectl pool checkin $a "
      "2>/dev/null; $cachectl pool drain k; echo $?");
  CHECK(outcome.output == "124\n0\n1\n0\n");
}

TEST_CASE("pool: the top directory of an overlay has the mode and the time of the value's") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"overlay\"\n");
  REQUIRE(sh(sandbox, "chmod 751 in; touch -d @1234567890.5 in; $cachectl set k --dir in").status ==
          0);
  const std::string look = "stat -c '%a %.1Y' $CACHECTL_REPLICA";
  const auto first =
      sandbox.run({"pool", "exec", "k", "--", "sh", "-c",
                   look + "; chmod 700 $CACHECTL_REPLICA; cd $CACHECTL_REPLICA; touch t; rm t"});
  if (first.status == 125) {
    WARN("overlays cannot be mounted here");
    return;
  }
  CHECK(first.output == "751 1234567890.5\n");
  // A change of these alone leaves nothing in the upper layer.
  CHECK(sandbox.run({"pool", "exec", "k", "--", "sh", "-c", look}).output == first.output);
}

TEST_CASE("pool: resize makes overlays in advance where nothing else is allowed") {
  const Sandbox sandbox;
  fill(sandbox, 3, "copy = \"overlay\"\n");
  const auto outcome =
      sh(sandbox,
         "$cachectl pool resize k 2; echo $?; $cachectl pool list k | awk '{print $2, $3}'\n"
         "$cachectl pool reset k; $cachectl pool list k | awk '{print $2, $3}'\n"
         "$cachectl pool checkout k 2>err; echo $?\n"
         "$cachectl set k --dir in/x; $cachectl pool resize k 1");
  CHECK(outcome.output == "0\nfree overlay\nfree overlay\nfree overlay\nfree overlay\n2\n");
  CHECK(outcome.status == 125);
  CHECK(outcome.errors.find("overlay: the value is a file") != std::string::npos);
  // Copies from now on: the overlay is none that is wanted.
  const Sandbox other;
  fill(other, 3, "copy = \"overlay\"\n");
  CHECK(sh(other,
           "$cachectl pool resize k 2; sed -i s/overlay/copy/ cachectl.toml; $cachectl pool reset "
           "k; $cachectl pool list k | awk '{print $2, $3}'")
            .output == "free copy\nfree copy\n");
}

TEST_CASE("pool: a list of ways is tried in its order, and what is not in it is forbidden") {
  const auto way = [](const std::string& list, const std::string& command) {
    const Sandbox sandbox;
    fill(sandbox, 1, "copy = " + list + "\n");
    return sh(sandbox, command +
                           "; echo $?; $cachectl pool list k | awk '$2 == \"free\" || $2 == "
                           "\"leased\" {print $3} /^  *[(]/ {print $0}' | sed 's/^ *//'")
        .output;
  };
  const std::string exec = "$cachectl pool exec k -- true";
  CHECK(way("[\"copy\", \"overlay\"]", exec) == "0\ncopy\n");
  CHECK(way("[\"hardlink\", \"copy\"]", exec) == "0\nhardlink\n");
  CHECK(way("[\"copy\", \"hardlink\"]", exec) == "0\ncopy\n");
  CHECK(way("[\"overlay\", \"hardlink\"]", "$cachectl pool checkout k >/dev/null") ==
        "0\nhardlink\n");
  // A replica that was made in a way that is forbidden now is made anew.
  CHECK(way("[\"hardlink\"]", exec + "; sed -i s/hardlink/copy/ cachectl.toml; " + exec) ==
        "0\ncopy\n");
}

TEST_CASE("pool: where no way that is allowed works, one line says why of each") {
  const Sandbox sandbox;
  fill(sandbox, 2, "copy = [\"reflink\", \"overlay\"]\n");
  // A file is no overlay, and this is not to be shared.
  const auto outcome = sh(sandbox, "$cachectl set k --dir in/x; $cachectl pool exec k -- true");
  if (outcome.status == 0) {
    WARN("this file system has reflinks");
    return;
  }
  CHECK(outcome.status == 125);
  CHECK(is_one_message(outcome.errors));
  CHECK(outcome.errors.find("no way that is allowed makes a replica of 'k': reflink: ") !=
        std::string::npos);
  CHECK(outcome.errors.find("; overlay: the value is a file (allow another one in pool.copy)") !=
        std::string::npos);
  // The next one of them takes over, and the list says why.
  const auto next = sh(sandbox,
                       "sed -i 's/, \"overlay\"/, \"copy\"/' cachectl.toml; $cachectl pool exec k "
                       "-- true; $cachectl pool list k");
  CHECK(next.output.find("(reflink: ") != std::string::npos);
  CHECK(next.output.find("free    copy ") != std::string::npos);
}

TEST_CASE("pool: list without a name lists the replicas of all pools, by key") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"pool", "list"}).status == 1);
  fill(sandbox, 2,
       "copy = \"copy\"\n[entries.'a long one'.pool]\ncopy = \"copy\"\n"
       "[entries.gone.pool]\ncopy = \"copy\"\n");
  const auto outcome = sh(
      sandbox,
      "for k in 'a long one' gone; do $cachectl set \"$k\" --dir in; $cachectl pool resize \"$k\" "
      "1; done\n"
      "$cachectl pool resize k 2; $cachectl delete gone\n"
      "$cachectl pool list | sed 's/  *[^ ]*$//'; $cachectl pool list --json | "
      "sed 's/.*\"key\":\"\\([^\"]*\\)\",\"slot\":\\([0-9]\\).*/\\1 \\2/'");
  CHECK(outcome.output ==
        "a long one   1  free    copy\n"
        "gone         1  free    copy\n"
        "k            1  free    copy\n"
        "k            2  free    copy\n"
        "a long one 1\ngone 1\nk 1\nk 2\n");
  // Nothing says any more whose pool that is.
  REQUIRE(sh(sandbox, "sed -i /gone/,\\$d cachectl.toml").status == 0);
  CHECK(sh(sandbox,
           "$cachectl pool list | grep -c '^?  *1  free'; $cachectl pool list --json | "
           "grep -c '\"key\":null'")
            .output == "1\n1\n");
}

TEST_CASE("pool: what cannot be is said in one line") {
  const Sandbox sandbox;
  const auto is_mistake = [&](std::vector<std::string> arguments, int status) {
    arguments.insert(arguments.begin(), "pool");
    const auto outcome = sandbox.run(arguments);
    CAPTURE(outcome.errors);
    CHECK(outcome.status == status);
    CHECK(is_one_message(outcome.errors));
  };
  is_mistake({"exec", "missing", "--", "true"}, 2);
  is_mistake({"exec", "missing"}, 2);
  is_mistake({"exce", "k"}, 2);
  is_mistake({"exec"}, 2);
  REQUIRE(sandbox.run({"set", "bytes", "x"}).status == 0);
  is_mistake({"exec", "bytes", "--", "true"}, 2);
  CHECK(sandbox.run({"pool", "list", "missing"}).status == 1);
  is_mistake({"drain", "missing"}, 2);
  is_mistake({"reset", "missing"}, 2);
  is_mistake({"resize", "missing", "2"}, 2);
  is_mistake({"resize", "bytes", "2"}, 2);
  is_mistake({"resize", "bytes", "0"}, 2);
  CHECK_FALSE(fs::exists(sandbox.root() + "/pools"));
  CHECK(sandbox.run({"status"}).output.find("POOL") == std::string::npos);
}

TEST_CASE("pool: what does not apply to an action is refused, by name") {
  const Sandbox sandbox;
  fill(sandbox, 2, "copy = \"copy\"\n");
  const std::vector<std::vector<std::string>> mistakes{{"exec", "k", "--owner", "1", "--", "true"},
                                                       {"exec", "k", "--json", "--", "true"},
                                                       {"exec", "k", "3", "--", "true"},
                                                       {"checkout", "k", "--publish"},
                                                       {"checkout", "k", "--", "true"},
                                                       {"checkin", "k", "--lease", "1h"},
                                                       {"list", "k", "--timeout", "1s"},
                                                       {"list", "k", "2"},
                                                       {"resize", "k", "1", "--json"},
                                                       {"reset", "k", "1"},
                                                       {"drain", "k", "--owner", "1"},
                                                       {"drain", "k", "--", "true"}};
  for (auto mistake : mistakes) {
    const auto action = mistake.front();
    mistake.insert(mistake.begin(), "pool");
    const auto outcome = sandbox.run(mistake);
    CAPTURE(action, outcome.errors);
    CHECK(outcome.status == 2);
    CHECK(outcome.output.empty());
    CHECK(is_one_message(outcome.errors));
    CHECK(outcome.errors.find(action + " has no ") != std::string::npos);
  }
  CHECK(sandbox.run({"pool", "list", "--publish"}).errors ==
        "cachectl: pool: list has no --publish (that is for checkin)\n");
  CHECK(sandbox.run({"pool", "exec", "k", "true"}).errors ==
        "cachectl: pool: no command given (cachectl pool exec NAME -- COMMAND)\n");
  CHECK(sandbox.run({"pool", "list", "k"}).status == 1);
}

TEST_CASE("pool: checkout lends a replica to the shell until it is checked in") {
  const Sandbox sandbox;
  fill(sandbox, 2, "copy = \"copy\"\n");
  const auto outcome = sh(sandbox,
                          "a=$($cachectl pool checkout k); b=$($cachectl pool checkout k)\n"
                          "test $a != $b && echo mine > $a/x && cat $b/x\n"
                          "$cachectl pool checkout k --timeout 50ms 2>/dev/null; echo $?\n"
                          "$cachectl pool checkin $a; echo $?; $cachectl pool checkin $a 2>err; "
                          "echo $?; wc -l < err\n"
                          "test $($cachectl pool checkout k) = $a && cat $a/x\n"
                          "$cachectl pool list k | grep -c leased");
  CHECK(outcome.output == "1\n124\n0\n1\n1\n1\n2\n");
  CHECK(outcome.errors.empty());
  // The shell has ended without checking in.
  CHECK(
      sh(sandbox, "until ! $cachectl pool list k | grep -q leased; do sleep 0.01; done; echo free")
          .output == "free\n");
}

TEST_CASE("pool: a replica is free at once when its shell is killed, in every shell") {
  for (const char* shell : {"dash", "bash", "busybox sh", "zsh"}) {
    const Sandbox sandbox;
    fill(sandbox, 1, "copy = \"copy\"\n");
    if (sh(sandbox, std::string(shell) + " -c true").status != 0) {
      WARN(shell << " is not installed");
      continue;
    }
    CAPTURE(shell);
    const auto outcome =
        sh(sandbox,
           "mkfifo ready; " + std::string(shell) +
               " -ec 'dir=$($cachectl pool checkout k); echo $dir > ready; sleep 60; :' & "
               "owner=$!\n"
               "read dir < ready; echo x > $dir/x\n"
               "$cachectl pool checkout k --timeout 50ms 2>/dev/null; echo $?\n"
               "kill -9 $owner; test \"$($cachectl pool checkout k --timeout 10s)\" = \"$dir\" && "
               "cat $dir/x");
    CHECK(outcome.output == "124\n1\n");
  }
}

TEST_CASE("pool: checkin --publish makes the replica the value, and the lease must live") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto outcome =
      sh(sandbox,
         "a=$($cachectl pool checkout k); echo new > $a/new; rm $a/x\n"
         "$cachectl pool checkin $a --publish; echo $?\n"
         "ls $($cachectl path k); $cachectl verify k && echo intact\n"
         "$cachectl pool exec k -- sh -c 'ls $CACHECTL_REPLICA'\n"
         "echo more > $a/more; $cachectl pool checkin $a --publish 2>/dev/null; echo $?\n"
         "ls $($cachectl path k)");
  CHECK(outcome.output == "0\nd\nnew\nintact\nd\nnew\n1\nd\nnew\n");
  // A link in its place is not followed.
  const auto link =
      sh(sandbox,
         "a=$($cachectl pool checkout k); rm -r $a; mkdir other; echo 1 > other/secret\n"
         "ln -s $PWD/other $a; $cachectl pool checkin $a --publish 2>err; echo $?\n"
         "grep -c 'symbolic link' err; ls $($cachectl path k); rm $a\n"
         "$cachectl pool checkin $a; echo $?");
  CHECK(link.output == "125\n1\nd\nnew\n0\n");
  CHECK(sandbox.run({"pool", "checkin", "/etc"}).status == 2);
  CHECK(sandbox.run({"pool", "checkin"}).status == 2);
}

TEST_CASE("pool: the lease of a replica is listed, and gives no right to write") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto outcome =
      sh(sandbox,
         "a=$($cachectl pool checkout k --lease 1h); id=$($cachectl lease list | cut -f1)\n"
         "$cachectl lease list | grep -c 'replica 1 of k'; $cachectl set k v --lease $id 2>err; "
         "echo $?; grep -c replica err; $cachectl release $id; $cachectl pool list k | grep -c "
         "leased");
  CHECK(outcome.output == "1\n2\n1\n0\n");
}

TEST_CASE("pool: never two owners of a replica, whoever is killed") {
  const Sandbox sandbox;
  fill(sandbox, 3);
  // Each owner writes its mark and finds it again.
  const auto outcome =
      sh(sandbox,
         "job() { $cachectl pool exec k --timeout 60s -- sh -c '\n"
         "    cd $CACHECTL_REPLICA && test ! -e mark || echo TWO; echo $$ > mark; sleep 0.02\n"
         "    test $(cat mark) = $$ || echo TWO; rm mark'; }\n"
         "victim() { $cachectl pool exec k -- sh -c 'exec sleep 60' & v=$!; sleep 0.0$(($1 % 7))\n"
         "  kill -9 $v; pkill -9 -P $v; }\n"
         "for i in $(seq 40); do job & if test $(($i % 4)) = 0; then victim $i & fi; done\n"
         "wait 2>/dev/null; $cachectl pool drain k --timeout 5s; echo $?");
  CHECK(outcome.output.find("TWO") == std::string::npos);
}

TEST_CASE("pool: gc removes idle replicas beyond the size, and all when the value is gone") {
  const Sandbox sandbox;
  fill(sandbox, 4, "copy = \"copy\"\n");
  REQUIRE(sh(sandbox, "sed -i 's/size = 0/size = 2/' cachectl.toml").status == 0);
  REQUIRE(sandbox.run({"pool", "resize", "k", "4"}).status == 0);
  const auto states = [&] {
    return sh(sandbox, "$cachectl pool list k | awk '{print $2}' | tr '\\n' ' '").output;
  };
  const auto held =
      sh(sandbox,
         "for i in 1 2 3; do\n"
         "  $cachectl pool exec k -- sh -c 'until test -e ../go; do sleep 0.01; done' &\n"
         "done\n"
         "until test $($cachectl pool list k | grep -c leased) = 3; do sleep 0.01; done\n"
         "$cachectl gc -n | grep replicas; $cachectl gc | grep replicas\n"
         "$cachectl pool list k | grep -c leased; touch ../go; wait");
  CHECK(held.output == "would remove 1 idle replicas\nremoved 1 idle replicas\n3\n");
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK(states() == "free free empty empty ");
  CHECK(sandbox.run({"delete", "k"}).status == 0);
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK(states() == "empty empty empty empty ");
}

TEST_CASE("pool: a value that has expired and has no source is said to, and a bad size refused") {
  const Sandbox sandbox;
  fill(sandbox, 2, "copy = \"copy\"\n");
  const auto resized = sandbox.run({"pool", "resize", "k", "3"});
  CHECK(resized.status == 2);
  CHECK(is_one_message(resized.errors));
  const auto outcome =
      sh(sandbox,
         "a=$($cachectl pool checkout k); cd $a; $cachectl pool checkin . --publish "
         "&& $cachectl show k --json | grep -c '\"expires\":null'; cd - >/dev/null\n"
         "$cachectl set k --dir in --ttl 1ms; sleep 0.01; $cachectl pool exec k -- true");
  CHECK(outcome.output == "1\n");
  CHECK(outcome.status == 2);
  CHECK(is_one_message(outcome.errors));
}

TEST_CASE("pool: a replica stays its owner's though the holder of the lease is killed") {
  const Sandbox sandbox;
  fill(sandbox, 1, "copy = \"copy\"\n");
  const auto outcome = sh(sandbox,
                          "a=$($cachectl pool checkout k)\n"
                          "kill -9 $(sed -n 's/^holder=//p' $CACHECTL_ROOT/leases/*[0-9a-f])\n"
                          "$cachectl pool checkout k --timeout 100ms 2>/dev/null; echo $?\n"
                          "$cachectl pool list k | grep -c leased\n"
                          "$cachectl pool checkin $a; echo $?\n"
                          "test $($cachectl pool checkout k --timeout 5s) = $a && echo again");
  CHECK(outcome.output == "124\n1\n0\nagain\n");
}

}  // namespace cachectl::test
