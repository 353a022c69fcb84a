// cachectl lease and gc: what is known of leases, for how long they live, what they leave.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

std::size_t files_of_leases(const Sandbox& sandbox) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& item : fs::directory_iterator(sandbox.root() + "/leases")) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("lease: list tells who holds what, since when and until when") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"lease", "list"}).status == 0);
  CHECK_FALSE(fs::exists(sandbox.root()));
  Shell shell(sandbox, "id=$(\"$cachectl\" acquire 'a key\n' --lease 1h); echo $id");
  const auto second = acquire(sandbox, {"b", "--shared"});
  const auto listed = sandbox.run({"lease", "list"});
  CHECK(listed.status == 0);
  const auto lines = lines_of(listed.output);
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[0],
             Catch::StartsWith(shell.id() + "\t" + std::to_string(shell.running().pid()) + "\t") &&
                 Catch::Contains("\texclusive\tkey a key\\n\tsh -c "));
  CHECK_THAT(lines[1], Catch::StartsWith(second + "\t" + std::to_string(::getpid()) + "\t") &&
                           Catch::Contains("\tnever\tshared\tkey b\t"));
  const auto objects = lines_of(sandbox.run({"lease", "list", "--json"}).output);
  REQUIRE(objects.size() == 2);
  const auto first = nlohmann::json::parse(objects[0]);
  CHECK(first["id"] == shell.id());
  CHECK(first["key"] == "a key\n");
  CHECK(first["mode"] == "exclusive");
  CHECK(first["pid"] == shell.running().pid());
  CHECK(first["left_seconds"].get<double>() > 3000);
  CHECK(first["left_seconds"].get<double>() <= 3600);
  CHECK(nlohmann::json::parse(objects[1])["expires"].is_null());

  const auto text = sandbox.run({"lease", "show", shell.id()}).output;
  CHECK_THAT(text, Catch::Contains("holds    key a key\\n (exclusive)\n") &&
                       Catch::Contains("owner    pid " + std::to_string(shell.running().pid())) &&
                       Catch::Contains("state    held\n"));
  const auto whole = sandbox.run({"release", shell.id()}).status;
  CHECK(whole == 0);
  CHECK(sandbox.run({"lease", "show", shell.id()}).status == 1);
  CHECK(lines_of(sandbox.run({"lease", "list"}).output).size() == 1);
}

TEST_CASE("lease: of the whole cache has no key") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox);
  CHECK(shown(sandbox, id)["key"].is_null());
  CHECK_THAT(sandbox.run({"lease", "list"}).output, Catch::Contains("\texclusive\tcache\t"));
}

TEST_CASE("lease: ends by itself when its time has come, and not before") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k", "--lease", "300ms"});
  CHECK_FALSE(is_free(sandbox, "k"));
  CHECK(becomes_free(sandbox, "k"));
  const auto until = acquire(sandbox, {"k", "--lease", "1h"});
  CHECK(sandbox.run({"lock", "--key", "k", "--timeout", "500ms", "true"}).status == 124);
  CHECK(shown(sandbox, id)["state"] == "expired");
}

TEST_CASE("lease: renew lets it live longer, shorter, or as long as its owner") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k", "--lease", "1s"});
  CHECK(sandbox.run({"lease", "renew", id, "--lease", "1h"}).status == 0);
  CHECK(shown(sandbox, id)["left_seconds"].get<double>() > 3000);
  CHECK(sandbox.run({"lock", "--key", "k", "--timeout", "1500ms", "true"}).status == 124);
  CHECK(sandbox.run({"lease", "renew", id, "--lease", "never"}).status == 0);
  CHECK(shown(sandbox, id)["expires"].is_null());
  CHECK(sandbox.run({"lease", "renew", id, "--lease", "50ms"}).status == 0);
  CHECK(becomes_free(sandbox, "k"));
  REQUIRE(wait_until([&] { return !shown(sandbox, id)["alive"].get<bool>(); }));
  check_lost(sandbox.run({"lease", "renew", id, "--lease", "1h"}), 1, "expired");
  CHECK(sandbox.run({"lease", "renew", id}).status == 2);
  CHECK(sandbox.run({"lease", "renew", id, "--lease", "0"}).status == 2);
  CHECK(sandbox.run({"lease", "forget", id}).status == 2);
}

TEST_CASE("gc: removes what dead leases left and leaves those that live") {
  const Sandbox sandbox;
  const auto alive = acquire(sandbox, {"a"});
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK(files_of_leases(sandbox) == 2);
  const auto killed = acquire(sandbox, {"b"});
  const auto expired = acquire(sandbox, {"c"});
  CHECK(sandbox.run({"lease", "renew", expired, "--lease", "10ms"}).status == 0);
  ::kill(holder_of_lease(sandbox, killed), SIGKILL);
  REQUIRE(wait_until([&] {
    return !shown(sandbox, killed)["alive"].get<bool>() &&
           !shown(sandbox, expired)["alive"].get<bool>();
  }));
  CHECK(files_of_leases(sandbox) == 5);
  CHECK_THAT(sandbox.run({"gc", "--dry-run"}).output,
             Catch::Contains("would remove 3 left-overs of leases"));
  CHECK(files_of_leases(sandbox) == 5);
  CHECK_THAT(sandbox.run({"gc"}).output, Catch::Contains("removed 3 left-overs of leases"));
  CHECK(files_of_leases(sandbox) == 2);
  CHECK_FALSE(is_free(sandbox, "a"));
  CHECK(sandbox.run({"set", "a", "v", "--lease", alive}).status == 0);
  check_lost(sandbox.run({"release", expired}), 1, "never was");
}

TEST_CASE("gc: a stopped holder's lease is alive") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  const auto holder = holder_of_lease(sandbox, id);
  ::kill(holder, SIGSTOP);
  CHECK(sandbox.run({"gc"}).status == 0);
  ::kill(holder, SIGCONT);
  CHECK(files_of_leases(sandbox) == 2);
  CHECK(sandbox.run({"release", id}).status == 0);
}

TEST_CASE("lease: a link in its place is not followed") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  fs::create_directory(sandbox.file("elsewhere"));
  fs::create_directory_symlink(sandbox.file("elsewhere"), sandbox.root() + "/leases");
  const auto outcome = sandbox.run({"acquire", "k"});
  CHECK(outcome.status == 125);
  CHECK_THAT(outcome.errors, Catch::Contains("symbolic link"));
  CHECK(fs::is_empty(sandbox.file("elsewhere")));
  CHECK(is_free(sandbox, "k"));
  fs::remove(sandbox.root() + "/leases");

  const auto real = acquire(sandbox, {"k"});
  const auto socket = sandbox.root() + "/leases/" + real + ".socket";
  fs::create_symlink(socket, sandbox.root() + "/leases/0123456789abcdef.socket");
  const auto by_link = sandbox.run({"set", "k", "w", "--lease", "0123456789abcdef"});
  CHECK(by_link.status == 125);
  CHECK(sandbox.run({"get", "k"}).output == "v");
}

TEST_CASE("lease: its files are for the user alone, whatever the umask") {
  const Sandbox sandbox;
  for (const char* mask : {"0", "777"}) {
    const auto outcome =
        run(sandbox.shell(std::string("umask ") + mask +
                          "; id=$(\"$cachectl\" acquire k) && stat -c %a "
                          "\"$CACHECTL_ROOT\"/leases \"$CACHECTL_ROOT\"/leases/$id* && "
                          "\"$cachectl\" release $id"));
    CHECK(outcome.errors.empty());
    CHECK(outcome.output == "700\n600\n600\n");
  }
}

}  // namespace cachectl::test
