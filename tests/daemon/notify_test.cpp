#include "src/daemon/notify.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/notify_socket.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::daemon {
namespace {

using test::NotifySocket;
using Variables = std::map<std::string, std::string>;

Result<Notify> notify_with(const Variables& variables, pid_t own_pid = 42) {
  return Notify::create(
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      own_pid);
}

}  // namespace

TEST_CASE("notify: without a socket nothing is sent, and no sign of life is due") {
  for (const auto& variables :
       {Variables{}, Variables{{"NOTIFY_SOCKET", ""}}, Variables{{"WATCHDOG_USEC", "1000"}}}) {
    auto notify = notify_with(variables).value();
    CHECK(notify.send("READY=1"));
    CHECK_FALSE(notify.next_sign());
    notify.give_sign(Notify::Time::max());
  }
}

TEST_CASE("notify: reaches sockets with a path and abstract ones") {
  const test::TempDirectory directory;
  const auto name = GENERATE(as<std::string>(), "path", "abstract");
  const NotifySocket socket(name == "path" ? directory.file("notify")
                                           : "@cachectl-test-" + std::to_string(::getpid()));
  auto notify = notify_with({{"NOTIFY_SOCKET", socket.name()}}).value();
  CHECK(notify.send("READY=1"));
  CHECK(socket.next() == "READY=1");
}

TEST_CASE("notify: a status is sent once, and stays one line") {
  const test::TempDirectory directory;
  const NotifySocket socket(directory.file("notify"));
  auto notify = notify_with({{"NOTIFY_SOCKET", socket.name()}}).value();
  for (const auto* text : {"a", "a", "b\nREADY=1"}) notify.status(text);
  CHECK(socket.next() == "STATUS=a");
  CHECK(socket.next() == "STATUS=b?READY=1");
}

TEST_CASE("notify: signs of life come at half of the time, to whom they are asked from") {
  const test::TempDirectory directory;
  const NotifySocket socket(directory.file("notify"));
  Variables variables{{"NOTIFY_SOCKET", socket.name()}, {"WATCHDOG_USEC", "3000000"}};
  variables["WATCHDOG_PID"] = "43";
  CHECK_FALSE(notify_with(variables).value().next_sign());
  const auto pid = GENERATE("", "42");
  variables["WATCHDOG_PID"] = pid;
  auto notify = notify_with(variables).value();
  const Notify::Time now{std::chrono::hours(1)};
  notify.give_sign(now);
  CHECK(socket.next() == "WATCHDOG=1");
  CHECK(notify.next_sign() == now + std::chrono::milliseconds(1500));
  notify.give_sign(now + std::chrono::milliseconds(1499));
  notify.send("END");
  CHECK(socket.next() == "END");
}

TEST_CASE("notify: what cannot be meant is an error") {
  const std::string too_long = "/" + std::string(200, 'x');
  for (const auto& variables :
       {Variables{{"NOTIFY_SOCKET", "relative"}}, Variables{{"NOTIFY_SOCKET", "@"}},
        Variables{{"NOTIFY_SOCKET", too_long}},
        Variables{{"NOTIFY_SOCKET", "/x"}, {"WATCHDOG_USEC", "1s"}},
        Variables{{"NOTIFY_SOCKET", "/x"}, {"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "me"}}}) {
    const auto notify = notify_with(variables);
    REQUIRE_FALSE(notify);
    CHECK(notify.error().code == Errc::config);
  }
}

TEST_CASE("notify: a manager that does not read is waited for no longer than two seconds") {
  const test::TempDirectory directory;
  const NotifySocket socket(directory.file("notify"));
  const auto notify = notify_with({{"NOTIFY_SOCKET", socket.name()}}).value();
  const auto start = std::chrono::steady_clock::now();
  int sent = 0;
  while (sent < 100'000 && notify.send("STATUS=" + std::string(1000, 'x'))) ++sent;
  CHECK(sent < 100'000);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

}  // namespace cachectl::daemon
