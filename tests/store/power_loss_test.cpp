// Power loss at any moment of a durable set: what a crash may leave is enumerated, made
// and used. What this does not model is said in tests/store/disk_states.hpp.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>

#include "tests/store/disk_states.hpp"
#include "tests/store/fixture.hpp"
#include "tests/support/denied_call.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::Disk;
using test::key_of;
using test::must;
using test::seen;
using test::TempDirectory;

namespace {

constexpr const char* kKey = "key";
const std::string kOld = "value: " + std::string(300, 'o');
const std::string kNew = "value: " + std::string(300, 'n');

/// A root below a directory that is there before, and what was done to it.
class Recording {
 public:
  Recording() : top_(directory_.file("top")) { fs::create_directory(top_); }

  /// Sets the new value in a process of its own; its exit status.
  int set(std::vector<std::string> settings = {}, const std::string& value = kNew.substr(7)) const {
    settings.push_back("CACHECTL_OPLOG=" + log());
    settings.push_back("CACHECTL_OPLOG_BELOW=" + top_);
    settings.push_back("LD_PRELOAD=" CACHECTL_OPLOG_SHIM);
    settings.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
    std::vector<char*> environment;
    for (auto& setting : settings) environment.push_back(setting.data());
    environment.push_back(nullptr);
    const auto path = root();
    const pid_t child = ::fork();
    if (child == 0) {
      ::execle(CACHECTL_PUBLISHER, "publisher", path.c_str(), kKey, value.c_str(), nullptr,
               environment.data());
      ::_exit(99);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  /// From now on; what is on the disk is taken for durable.
  void start() {
    fs::remove(log());
    before_ = test::disk_at(top_);
  }

  [[nodiscard]] std::vector<test::Operation> operations() const { return test::read_log(log()); }
  std::size_t each_state(bool at_end, const std::function<bool(const Disk&)>& visit) const {
    return test::each_state(before_, inode(), operations(), at_end, visit);
  }
  [[nodiscard]] test::Inode inode() const { return test::inode_at(top_); }
  [[nodiscard]] std::string root() const { return top_ + "/root"; }

 private:
  [[nodiscard]] std::string log() const { return directory_.file("log"); }
  TempDirectory directory_;
  std::string top_;
  Disk before_;
};

Cache cache_at(const std::string& root) {
  CacheOptions options;
  options.root = root;
  return must(Cache::open(std::move(options)));
}

/// Boots from a disk: "" or what is wrong with it. `allowed`: what a reader may see.
std::string defect_of(const Disk& disk, test::Inode top, const std::set<std::string>& allowed) {
  TempDirectory place;
  test::materialize(disk, top, place.path());
  const auto key = key_of(kKey);
  const auto root = place.file("root");
  try {
    const auto cache = cache_at(root);
    const auto first = seen(cache, key);
    if (allowed.count(first) == 0) return "a reader sees " + first.substr(0, 40);
    const auto report = must(cache.collect({}));
    if (!report.problems.empty()) return "gc: " + report.problems[0].describe();
    if (seen(cache, key) != first) return "after gc a reader sees " + seen(cache, key);
    const auto set = cache.set(key, lock::bytes_of("next"), {});
    if (!set) return "the next set: " + set.error().describe();
    if (seen(cache, key) != "value: next") return "the next set is not seen";
    // Before, there may have been no cache yet that gc could have looked at.
    must(cache.collect({}));
    if (!fs::is_empty(root + "/tmp")) return "files stay in tmp";
    if ((fs::status(root).permissions() & fs::perms::mask) != fs::perms::owner_all) {
      return "the root has another mode";
    }
  } catch (const std::exception& problem) {
    return problem.what();
  }
  return "";
}

/// Under the thread sanitizer a state costs many times as much, and there is no thread.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t kEach = 8;
constexpr std::size_t kEachKill = 4;
#else
constexpr std::size_t kEach = 1;
constexpr std::size_t kEachKill = 1;
#endif

struct Verdict {
  std::size_t raw = 0;
  std::size_t states = 0;
  std::set<std::string> defects;
};

/// Up to the first defect. In a process of its own, whose fsync does nothing and whose
/// files are in memory where that can be had: the disk in question is not the one below.
Verdict judge(const Recording& recording, bool at_end, const std::set<std::string>& allowed,
              std::size_t each = kEach) {
  const TempDirectory place;
  const test::Forked child([&](const test::Link& link) {
    [[maybe_unused]] const bool faster = test::deny_system_call(SYS_fsync, 0);
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
    Verdict verdict;
    verdict.raw = recording.each_state(at_end, [&](const Disk& disk) {
      if (verdict.states++ % each != 0) return true;
      const auto defect = defect_of(disk, recording.inode(), allowed);
      if (!defect.empty()) verdict.defects.insert(defect.substr(0, defect.find('\n')));
      return defect.empty();
    });
    std::string text = std::to_string(verdict.raw) + "\n" + std::to_string(verdict.states) + "\n";
    for (const auto& defect : verdict.defects) text += defect + "\n";
    test::write_file(place.file("verdict"), text);
    link.say("done");
    return 0;
  });
  if (child.hear() != "done") throw std::runtime_error("the judge has died");
  std::istringstream lines(test::content_of(place.file("verdict")));
  Verdict verdict;
  lines >> verdict.raw >> verdict.states >> std::ws;
  for (std::string line; std::getline(lines, line);) verdict.defects.insert(line);
  return verdict;
}

/// False: the shim saw nothing, as under a sanitizer that is linked statically.
bool recorded(const Recording& recording) {
  if (!recording.operations().empty()) return true;
  WARN("NOT TESTED: the calls of this build cannot be recorded");
  return false;
}

std::string listed(const Verdict& verdict) {
  std::string text =
      std::to_string(verdict.raw) + " states, " + std::to_string(verdict.states) + " different;";
  for (const auto& defect : verdict.defects) text += " " + defect + ";";
  return text;
}

}  // namespace

TEST_CASE("power loss while a value is replaced: old or new; new once set has returned") {
  Recording recording;
  REQUIRE(recording.set({}, kOld.substr(7)) == 0);
  recording.start();
  REQUIRE(recording.set() == 0);
  if (!recorded(recording)) return;
  const auto during = judge(recording, false, {kOld, kNew});
  INFO(listed(during));
  CHECK(during.defects.empty());
  CHECK(during.states > 5);
  const auto after = judge(recording, true, {kNew});
  INFO(listed(after));
  CHECK(after.defects.empty());
}

TEST_CASE("power loss while the first value of a cache is set: a miss or it; it once set") {
  Recording recording;
  recording.start();
  REQUIRE(recording.set() == 0);
  if (!recorded(recording)) return;
  const auto during = judge(recording, false, {"miss", kNew});
  INFO(listed(during));
  CHECK(during.defects.empty());
  CHECK(during.states > 20);
  const auto after = judge(recording, true, {kNew});
  INFO(listed(after));
  CHECK(after.defects.empty());
}

TEST_CASE("power loss after a set that came upon a cache whose maker was killed: it is there") {
  // Killed with its directories made and not yet synced, for instance.
  Recording whole;
  REQUIRE(whole.set() == 0);
  if (!recorded(whole)) return;
  const auto steps = whole.operations();
  std::size_t killed = 0;
  for (std::size_t step = 0; step + 1 < steps.size(); ++step) {
    const auto& kind = steps[step].kind;
    if (kind != "mkdir" && kind != "rename" && kind != "chmod") continue;
    if (killed++ % kEachKill != 0) continue;
    Recording recording;
    recording.start();
    REQUIRE(recording.set({"CACHECTL_OPLOG_KILL_AFTER=" + std::to_string(step + 1)}, "another") ==
            128 + SIGKILL);
    REQUIRE(recording.set() == 0);
    const auto after = judge(recording, true, {kNew});
    INFO("killed after operation " << step << ", a " << kind << ": " << listed(after));
    CHECK(after.defects.empty());
  }
  CHECK(killed > 10);
}

TEST_CASE("power loss: a program that forgets to sync files, or directories, is found out") {
  const std::string skip = GENERATE("file-sync", "directory-sync");
  const bool first = GENERATE(false, true);
  INFO(skip << (first ? ", first value" : ", replaced value"));
  Recording recording;
  if (!first) REQUIRE(recording.set({}, kOld.substr(7)) == 0);
  recording.start();
  REQUIRE(recording.set({"CACHECTL_OPLOG_SKIP=" + skip}) == 0);
  if (!recorded(recording)) return;
  // All states, also where others take a sample: only some of them show the defect.
  CHECK_FALSE(judge(recording, true, {kNew}, 1).defects.empty());
  if (!first && skip == "file-sync") {
    CHECK_FALSE(judge(recording, false, {kOld, kNew}, 1).defects.empty());
  }
}

}  // namespace cachectl::store
