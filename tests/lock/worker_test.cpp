#include "lock/worker.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <stdexcept>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {
namespace {

sigset_t no_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  return none;
}

WorkReport done_by(const std::function<WorkReport()>& work) {
  auto worker = Worker::start(work, no_signals(), Bond::loose);
  int status = 0;
  if (!worker || ::waitpid(worker->pid(), &status, 0) != worker->pid()) return {-1, "(no child)"};
  return worker->finish(status);
}

/// "0 1 2 ...".
std::string open_descriptors() {
  std::string text;
  for (int each = 0; each < 100; ++each) {
    if (::fcntl(each, F_GETFD) >= 0) text += std::to_string(each) + ' ';
  }
  return text;
}

}  // namespace

TEST_CASE("worker: says how its work has ended, and why it failed") {
  const auto done = done_by([] { return WorkReport{}; });
  CHECK(done.status == 0);
  CHECK(done.text.empty());
  const auto failed = done_by([] { return WorkReport{22, "no such thing"}; });
  CHECK(failed.status == 22);
  CHECK(failed.text == "no such thing");
  const auto thrown = done_by([]() -> WorkReport { throw std::runtime_error("broken"); });
  CHECK(thrown.status == 125);
  CHECK(thrown.text == "unexpected failure: broken");
  const auto killed = done_by([]() -> WorkReport {
    ::raise(SIGKILL);
    return {};
  });
  CHECK(killed.status == 137);
  CHECK(killed.text == "ended by signal 9");
}

TEST_CASE("worker: a reason of any length keeps nobody waiting") {
  const auto failed = done_by([] { return WorkReport{1, std::string(1 << 20, 'x')}; });
  CHECK(failed.status == 1);
  CHECK(failed.text == std::string(4096, 'x'));
}

TEST_CASE("worker: has the standard streams of its parent, one to report, and nothing else") {
  const test::TempDirectory directory;
  const auto opened = directory.open();
  const auto told = done_by([] { return WorkReport{1, open_descriptors()}; });
  INFO(told.text);
  CHECK(told.text.starts_with("0 1 2 "));
  CHECK(std::count(told.text.begin(), told.text.end(), ' ') == 4);
}

TEST_CASE("worker: dies with its parent") {
  test::Forked parent([](const test::Link& link) {
    const auto worker = Worker::start(
        [] {
          ::pause();
          return WorkReport{};
        },
        no_signals(), Bond::loose);
    link.say(std::to_string(worker->pid()));
    ::pause();
    return 0;
  });
  const auto pid = static_cast<pid_t>(std::stol(parent.hear()));
  CHECK(::kill(pid, 0) == 0);
  parent.kill();
  // It is nobody's here: init reaps it, or where nobody does, it stays as a zombie.
  CHECK(test::wait_until([&] {
    if (::kill(pid, 0) != 0) return true;
    return test::content_of("/proc/" + std::to_string(pid) + "/stat").find(") Z") !=
           std::string::npos;
  }));
}

TEST_CASE("worker: kill ends all of its group, whatever they ignore") {
  auto worker = Worker::start(
      [] {
        ::signal(SIGTERM, SIG_IGN);
        if (::fork() == 0) ::signal(SIGTERM, SIG_IGN);
        ::pause();
        return WorkReport{};
      },
      no_signals(), Bond::loose);
  REQUIRE(worker);
  worker->kill();
  int status = 0;
  REQUIRE(::waitpid(worker->pid(), &status, 0) == worker->pid());
  CHECK(worker->finish(status).status == 137);
  CHECK(test::wait_until([&] { return ::kill(-worker->pid(), 0) != 0; }));
}

}  // namespace cachectl::lock
