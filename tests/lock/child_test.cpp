#include "lock/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>
#include <thread>

#include "lock/process.hpp"
#include "tests/support/denied_call.hpp"
#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::Forked;
using test::Link;
using test::TempDirectory;

ExitStatus run(const Command& command, const sigset_t* mask = nullptr) {
  auto child = Child::spawn(command, mask);
  if (!child) throw std::runtime_error(child.error().describe());
  return child->wait(nullptr).value();
}

Command shell(const std::string& script) {
  Command command;
  command.argv = {"sh", "-c", script};
  return command;
}

/// What the command writes to its standard output.
std::string output_of(Command command, const sigset_t* mask = nullptr) {
  const TempDirectory directory;
  const Fd file(::open(directory.file("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  command.output = file.get();
  run(command, mask);
  return content_of(directory.file("out"));
}

/// The line of /proc/self/status that begins with `name`, as the command sees it.
std::string status_line(const std::string& name, const sigset_t* mask = nullptr) {
  Command command;
  command.argv = {"grep", name, "/proc/self/status"};
  return output_of(command, mask);
}

/// The descriptors that the command has.
std::vector<int> descriptors_of(Command command) {
  command.argv = {"sh", "-c", "cd /proc/$$/fd && echo *"};
  std::istringstream words(output_of(command));
  std::vector<int> result;
  for (int fd = 0; words >> fd;) result.push_back(fd);
  std::sort(result.begin(), result.end());
  return result;
}

bool is_gone(pid_t pid) {
  if (start_ticks_of(pid) == 0) return true;
  const auto text = content_of("/proc/" + std::to_string(pid) + "/stat");
  return text.substr(text.rfind(')') + 2, 1) == "Z";
}

}  // namespace

TEST_CASE("child: its exit status is told") {
  for (const int status : {0, 1, 3, 124, 255}) {
    const auto ended = run(shell("exit " + std::to_string(status)));
    CHECK(ended.value == status);
    CHECK_FALSE(ended.by_signal());
  }
}

TEST_CASE("child: a signal that killed it is told as 128 + N") {
  for (const int signal : {SIGTERM, SIGKILL, SIGSEGV}) {
    const auto ended = run(shell("kill -" + std::to_string(signal) + " $$"));
    CHECK(ended.value == 128 + signal);
    CHECK(ended.by_signal());
    CHECK(ended.signal == signal);
  }
}

TEST_CASE("child: a command that is not there is not found") {
  for (const std::string name : {"no-such-command-anywhere", "/no/such/command", ""}) {
    Command command;
    command.argv = {name};
    const auto child = Child::spawn(command, nullptr);
    REQUIRE_FALSE(child);
    CHECK(child.error().code == Errc::not_found);
  }
}

TEST_CASE("child: a command that cannot be run is not runnable") {
  const TempDirectory directory;
  test::write_file(directory.file("data"), "no program");
  for (const auto& name : {directory.file("data"), directory.path()}) {
    Command command;
    command.argv = {name};
    const auto child = Child::spawn(command, nullptr);
    REQUIRE_FALSE(child);
    CHECK(child.error().code == Errc::not_runnable);
    CHECK_THAT(child.error().describe(), Catch::Contains(name));
  }
}

TEST_CASE("child: the environment is ours with what was added, which wins") {
  ::setenv("CACHECTL_TEST_KEPT", "kept", 1);
  ::setenv("CACHECTL_TEST_CHANGED", "before", 1);
  ::setenv("CACHECTL_TEST", "no prefix", 1);
  auto command = shell("echo $CACHECTL_TEST_KEPT $CACHECTL_TEST_CHANGED $CACHECTL_TEST");
  command.environment = {"CACHECTL_TEST_CHANGED=after"};
  CHECK(output_of(command) == "kept after no prefix\n");
}

TEST_CASE("child: the command is looked up in the PATH that it is given") {
  const TempDirectory directory;
  test::write_file(directory.file("only-here"), "#!/bin/sh\nexit 7\n");
  fs::permissions(directory.file("only-here"), fs::perms::owner_all);
  Command command;
  command.argv = {"only-here"};
  command.environment = {"PATH=" + directory.path()};
  CHECK(run(command).value == 7);
}

TEST_CASE("child: standard input is empty when asked, and both outputs go where told") {
  const TempDirectory directory;
  auto command = shell("cat; echo out; echo err >&2");
  command.null_input = true;
  const auto open = [&](const char* name) {
    return Fd(::open(directory.file(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  };
  const Fd out = open("out");
  const Fd err = open("err");
  command.output = out.get();
  command.error = err.get();
  CHECK(run(command).value == 0);
  CHECK(content_of(directory.file("out")) == "out\n");
  CHECK(content_of(directory.file("err")) == "err\n");
}

TEST_CASE("child: streams work even where ours are closed") {
  const TempDirectory directory;
  Forked parent([&](const Link&) {
    ::close(STDIN_FILENO);
    auto command = shell("cat && echo fine >\"$OUT\"");
    command.null_input = true;
    command.environment = {"OUT=" + directory.file("out")};
    return run(command).value;
  });
  CHECK(parent.wait() == 0);
  CHECK(content_of(directory.file("out")) == "fine\n");
}

TEST_CASE("child: it gets the default actions and the mask from before the trap") {
  Forked parent([&](const Link& link) {
    ignore_write_signals();
    const auto trap = SignalTrap::create();
    if (!trap) return 1;
    link.say(status_line("SigIgn", &trap->previous_mask()));
    link.say(status_line("SigBlk", &trap->previous_mask()));
    return 0;
  });
  const auto bits = [](const std::string& line) {
    return std::stoull(line.substr(line.find(':') + 1), nullptr, 16);
  };
  const auto ignored = bits(parent.hear());
  CHECK((ignored & (1ULL << (SIGPIPE - 1))) == 0);
  CHECK((ignored & (1ULL << (SIGXFSZ - 1))) == 0);
  const auto blocked = bits(parent.hear());
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1}) {
    CHECK((blocked & (1ULL << (signal - 1))) == 0);
  }
}

TEST_CASE("child: none of our descriptors reaches it but those to keep open") {
  const TempDirectory directory;
  auto command = shell("");
  const auto before = descriptors_of(command);
  const auto opened = directory.open();
  const auto held = test::acquire(test::table_in(opened), Slot::of(2), Mode::exclusive);
  const auto lock = test::open_lock(directory.file("lock"));
  CHECK(descriptors_of(command) == before);
  command.keep_open = {held.descriptor()};
  auto expected = before;
  expected.push_back(held.descriptor());
  std::sort(expected.begin(), expected.end());
  CHECK(descriptors_of(command) == expected);
  // The flag is the child's own: we still close it on exec.
  CHECK((::fcntl(held.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("child: signals are passed on while we wait") {
  const bool pidfd = GENERATE(true, false);
  const TempDirectory directory;
  Forked passing([&](const Link&) {
    if (!pidfd && !test::deny_system_call(SYS_pidfd_open, ENOSYS)) return 77;
    const auto trap = SignalTrap::create();
    if (!trap) return 1;
    auto command = shell("trap 'exit 5' TERM; : >\"$READY\"; while :; do sleep 0.01; done");
    command.environment = {"READY=" + directory.file("ready")};
    auto child = Child::spawn(command, &trap->previous_mask());
    if (!child) return 1;
    const auto ended = child->wait(&*trap);
    return ended ? ended->value : 2;
  });
  REQUIRE(test::wait_until([&] { return fs::exists(directory.file("ready")); }));
  passing.send(SIGTERM);
  CHECK(passing.wait() == 5);
}

TEST_CASE("child: one that ends by itself ends the wait with a trap too") {
  const bool pidfd = GENERATE(true, false);
  Forked parent([&](const Link&) {
    if (!pidfd && !test::deny_system_call(SYS_pidfd_open, ENOSYS)) return 77;
    const auto trap = SignalTrap::create();
    auto child = Child::spawn(shell("sleep 0.03; exit 6"), nullptr);
    return child->wait(&*trap)->value;
  });
  CHECK(parent.wait() == 6);
}

TEST_CASE("child: dies with its parent when asked, and else lives on") {
  const bool dies = GENERATE(true, false);
  Forked parent([&](const Link& link) {
    auto command = shell("exec sleep 600");
    command.die_with_parent = dies;
    const auto child = Child::spawn(command, nullptr);
    link.say(child ? std::to_string(child->pid()) : "0");
    ::pause();
    return 0;
  });
  const pid_t pid = std::stoi(parent.hear());
  REQUIRE(pid > 0);
  parent.kill();
  if (dies) {
    CHECK(test::wait_until([&] { return is_gone(pid); }));
  } else {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    CHECK_FALSE(is_gone(pid));
    ::kill(pid, SIGKILL);
  }
}

TEST_CASE("child: one that was not waited for is killed and reaped") {
  pid_t pid = 0;
  {
    const auto child = Child::spawn(shell("exec sleep 600"), nullptr);
    REQUIRE(child);
    pid = child->pid();
    CHECK_FALSE(is_gone(pid));
  }
  CHECK(start_ticks_of(pid) == 0);
}

TEST_CASE("child: it keeps a lock that was handed to it after the death of the parent") {
  const TempDirectory directory;
  const auto opened = directory.open();
  Forked parent([&](const Link& link) {
    const auto held = test::acquire(test::table_in(opened), Slot::of(2), Mode::exclusive);
    auto command = shell("exec sleep 600");
    command.keep_open = {held.descriptor()};
    const auto child = Child::spawn(command, nullptr);
    link.say(child ? std::to_string(child->pid()) : "0");
    ::pause();
    return 0;
  });
  const pid_t pid = std::stoi(parent.hear());
  REQUIRE(pid > 0);
  parent.kill();
  const auto table = test::table_in(opened);
  CHECK(test::attempt(table, Slot::of(2), Mode::exclusive) ==
        (backend.inheritable ? "busy" : "held"));
  ::kill(pid, SIGKILL);
  CHECK(test::attempt(table, Slot::of(2), Mode::exclusive, Deadline::after(test::kPatience)) ==
        "held");
}

TEST_CASE("shell_quoted: a shell reads back exactly the arguments") {
  const std::vector<std::string> arguments = {
      "plain", "",   "two words", "it's",     "''",          "$HOME", "`id`",
      "a\nb",  "\t", "\\",        "*",        "~",           "#no",   "-n",
      "a;b",   "\"", "!",         "\xff\x01", "caf\xc3\xa9", "x=y",   "{a,b}"};
  std::string expected;
  for (const auto& argument : arguments) expected += argument + '\0';
  CHECK(output_of(shell("printf '%s\\0' " + shell_quoted(arguments))) == expected);
  CHECK(shell_quoted({"curl", "-fsS", "https://example.org/a%20b"}) ==
        "curl -fsS https://example.org/a%20b");
}

}  // namespace cachectl::lock
