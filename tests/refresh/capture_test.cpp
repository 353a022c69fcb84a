// What a source says: recorded and passed on, at any size and to any consumer.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "tests/refresh/asking.hpp"
#include "tests/support/denied_call.hpp"

namespace cachectl::refresh {

using std::chrono::milliseconds;
using test::ask;
using test::asker;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::seen;
using test::shell;
using test::SinkFile;
using test::TestCache;
using test::value_of;
using test::wait_until;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    read = lock::Fd(ends[0]);
    write = lock::Fd(ends[1]);
  }
  lock::Fd read;
  lock::Fd write;
};

std::string read_all(const lock::Fd& from) {
  std::string text;
  std::string block(64 * 1024, '\0');
  while (const auto got =
             must(lock::read_some(from.get(), std::as_writable_bytes(std::span(block)), "pipe"))) {
    text.append(block, 0, got);
  }
  return text;
}

/// Numbers, one a line: about 8 bytes each.
Source counting(long to, const std::string& then = "") {
  return shell("seq 1000000 " + std::to_string(1'000'000 + to - 1) + then);
}

std::string counted(long to) {
  std::string text;
  for (long number = 0; number < to; ++number) text += std::to_string(1'000'000 + number) + "\n";
  return text;
}

}  // namespace

TEST_CASE("capture: large output and large errors are both whole, run and hit") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const auto command = shell("seq 1000000 1299999 & seq 1000000 1199999 >&2; wait");
  for (const auto how : {How::ran, How::hit}) {
    const SinkFile output;
    const SinkFile errors;
    const auto result =
        must(cache.run(key, command, {}, {output.descriptor(), errors.descriptor()}));
    CHECK(result.how == how);
    CHECK((output.content() == counted(300'000)));
    CHECK((errors.content() == counted(200'000)));
  }
  auto entry = must(cache.get(key));
  REQUIRE(entry);
  CHECK(entry->header().output_size == 8 * 300'000);
  CHECK(entry->header().error_size == 8 * 200'000);
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("capture: a source that is quiet or closes its streams early is recorded to its end") {
  TestCache test;
  const auto cache = test.open();
  CHECK(ask(cache, key_of("quiet"), shell("true")) == "ran 0 [] []");
  CHECK(ask(cache, key_of("quiet"), shell("true")) == "hit 0 [] []");
  const auto script = "echo out; exec >&- 2>&-; sleep 0.1; exit 3";
  CHECK(ask(cache, key_of("early"), shell(script)) == "ran 3 [out\n] []");
}

TEST_CASE("capture: output appears while the source still runs") {
  TestCache test;
  const auto gate = test.outside().file("gate");
  Pipe output;
  Pipe errors;
  Forked leader([&](const Link&) {
    const auto result = test.open().run(
        key_of("key"),
        shell("echo first; echo warning >&2; while [ ! -e " + gate + " ]; do sleep 0.02; done"), {},
        {output.write.get(), errors.write.get()});
    return result && result->status.value == 0 ? 0 : 1;
  });
  output.write.reset();
  errors.write.reset();
  std::string line(6, '\0');
  must(lock::read_full(output.read.get(), std::as_writable_bytes(std::span(line)), "pipe"));
  CHECK(line == "first\n");
  line.resize(8);
  must(lock::read_full(errors.read.get(), std::as_writable_bytes(std::span(line)), "pipe"));
  CHECK(line == "warning\n");
  test::write_file(gate, "");
  CHECK(leader.wait() == 0);
}

TEST_CASE("capture: a consumer that does not read keeps nobody else waiting") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const bool of_errors = GENERATE(false, true);
  Pipe pipe;
  Forked leader([&](const Link&) {
    const Sink sink{of_errors ? -1 : pipe.write.get(), of_errors ? pipe.write.get() : -1};
    const auto result = test.open().run(key, counting(1 << 20, of_errors ? " >&2" : ""), {}, sink);
    return result && !result->not_passed_on ? 0 : 1;
  });
  pipe.write.reset();
  // The value is there, although nobody has read a byte of the leader's own output.
  REQUIRE(wait_until([&] { return must(cache.get(key)).has_value(); }));
  const SinkFile output;
  const SinkFile errors;
  const auto second =
      must(cache.run(key, shell("false"), {}, {output.descriptor(), errors.descriptor()}));
  CHECK(second.how == How::hit);
  const auto expected = counted(1 << 20);
  CHECK(((of_errors ? errors : output).content() == expected));
  CHECK((read_all(pipe.read) == expected));
  CHECK(leader.wait() == 0);
}

TEST_CASE("capture: a consumer that goes away does not harm the value") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const bool of_errors = GENERATE(false, true);
  Pipe pipe;
  pipe.read.reset();
  Forked leader([&](const Link& link) {
    std::signal(SIGPIPE, SIG_IGN);
    const Sink sink{of_errors ? -1 : pipe.write.get(), of_errors ? pipe.write.get() : -1};
    const auto result = test.open().run(key, counting(500'000, of_errors ? " >&2" : ""), {}, sink);
    link.say(!result                                        ? result.error().describe()
             : !result->not_passed_on                       ? "nothing noticed"
             : result->not_passed_on->system_error == EPIPE ? "EPIPE"
                                                            : result->not_passed_on->describe());
    return 0;
  });
  CHECK(leader.hear() == "EPIPE");
  auto entry = must(cache.get(key));
  REQUIRE(entry);
  CHECK((must(entry->read(of_errors ? store::Stream::errors : store::Stream::output)) ==
         counted(500'000)));
}

TEST_CASE("capture: where the record cannot grow, all output is still passed on") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  test::put(cache, key, "old");
  const bool of_errors = GENERATE(false, true);
  Pipe output;
  Pipe errors;
  Forked leader([&](const Link& link) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    RunPolicy policy;
    policy.force = true;
    const auto result = test.open().run(key, counting(300'000, of_errors ? " >&2" : ""), policy,
                                        {output.write.get(), errors.write.get()});
    if (!result) return 2;
    link.say(result->not_stored ? result->not_stored->describe() : "stored");
    return result->status.value == 0 && !result->not_passed_on ? 0 : 3;
  });
  output.write.reset();
  errors.write.reset();
  const auto text = read_all(of_errors ? errors.read : output.read);
  CHECK((text == counted(300'000)));
  CHECK_THAT(leader.hear(), Catch::Contains("File too large"));
  CHECK(leader.wait() == 0);
  CHECK(seen(cache, key) == "value: old");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("capture: output that cannot be read to its end is not stored as if it were") {
  TestCache test;
  test.open_root();
  const auto cache = test.open();
  Forked leader([&](const Link& link) {
    const SinkFile output;
    if (!test::deny_system_call(SYS_poll, EIO)) return 7;
    const auto result =
        cache.run(key_of("key"), counting(1'000'000), {}, {output.descriptor(), -1});
    link.say(!result              ? result.error().describe()
             : result->not_stored ? "not stored: " + result->not_stored->describe()
                                  : "stored");
    return 0;
  });
  const auto answer = leader.hear();
  if (leader.wait() == 7) {
    WARN("NOT TESTED: no seccomp here");
    return;
  }
  CHECK_THAT(answer, Catch::StartsWith("not stored: "));
  CHECK(seen(cache, key_of("key")) == "miss");
}

TEST_CASE("capture: a value larger than its memory passes, on a miss and on a hit") {
  TestCache test;
  constexpr std::uint64_t kSize = 256U * 1024 * 1024;
  const auto key = key_of("key");
  for (const auto* how : {"ran", "hit"}) {
    Pipe pipe;
    // Counts from the fork on: what the tests have used so far is not ours.
    Forked child([&](const Link& link) {
      pipe.read.reset();
      rusage before{};
      ::getrusage(RUSAGE_SELF, &before);
      const auto result =
          test.open().run(key, shell("head -c 268435456 /dev/zero"), {}, {pipe.write.get(), -1});
      pipe.write.reset();
      rusage usage{};
      ::getrusage(RUSAGE_SELF, &usage);
      const auto name = !result ? "error" : result->how == How::ran ? "ran" : "hit";
      link.say(std::string(name) + " " +
               std::to_string((usage.ru_maxrss - before.ru_maxrss) / 1024));
      return 0;
    });
    pipe.write.reset();
    std::uint64_t size = 0;
    std::vector<std::byte> block(1024 * 1024);
    while (const auto got = must(lock::read_some(pipe.read.get(), block, "pipe"))) size += got;
    CHECK(size == kSize);
    std::istringstream answer(child.hear());
    std::string name;
    long mebibytes = 0;
    answer >> name >> mebibytes;
    CHECK(name == how);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(mebibytes < 32);
#endif
  }
}

}  // namespace cachectl::refresh
