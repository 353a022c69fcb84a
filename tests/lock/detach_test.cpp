#include "lock/detach.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

#include "tests/support/forked.hpp"

namespace cachectl::lock {

namespace {

using test::Forked;
using test::Link;

}  // namespace

TEST_CASE("detach: a process keeps the descriptors that it names and no others") {
  Forked child([&](const Link& link) {
    const int kept = ::dup(STDIN_FILENO);
    const int other = ::dup(STDIN_FILENO);
    const int last = ::fcntl(STDIN_FILENO, F_DUPFD, 100);
    close_all_but({kept, link.descriptor()});
    const bool right = ::fcntl(kept, F_GETFD) >= 0 && ::fcntl(other, F_GETFD) < 0 &&
                       ::fcntl(last, F_GETFD) < 0 && ::fcntl(STDIN_FILENO, F_GETFD) < 0;
    link.say(right ? "right" : "wrong");
    return 0;
  });
  CHECK(child.hear() == "right");
}

TEST_CASE("detach: nothing of the caller's is left") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  Forked child([&](const Link& link) {
    ::signal(SIGTERM, SIG_IGN);
    const pid_t session = ::getsid(0);
    if (!detach({link.descriptor()})) return 1;
    const bool right = ::getsid(0) != session && ::fcntl(pipe[1], F_GETFD) < 0 &&
                       ::isatty(STDIN_FILENO) == 0 && ::fcntl(STDOUT_FILENO, F_GETFD) >= 0 &&
                       ::signal(SIGTERM, SIG_DFL) == SIG_DFL;
    link.say(right ? "right" : "wrong");
    return 0;
  });
  CHECK(child.hear() == "right");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace cachectl::lock
