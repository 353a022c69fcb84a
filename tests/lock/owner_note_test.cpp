#include "lock/owner_note.hpp"

#include <fcntl.h>

#include <catch2/catch.hpp>

#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;
using test::Forked;
using test::holder_of;
using test::Link;
using test::table_in;
using test::TempDirectory;

OwnerNote sample() {
  return {ProcessIdentity::self(), sys_seconds(seconds(1763737959)), 0x3fa9, Mode::shared,
          "apt-cache dumpavail"};
}

}  // namespace

TEST_CASE("owner note: survives its text form") {
  const auto note = sample();
  const auto text = note.encode();
  CHECK(text.size() == OwnerNote::kSlotSize);
  CHECK(text.back() == '\n');
  const auto back = OwnerNote::decode(text);
  REQUIRE(back);
  CHECK(back->process == note.process);
  CHECK(back->since == note.since);
  CHECK(back->id == note.id);
  CHECK(back->mode == note.mode);
  CHECK(back->command == note.command);
}

TEST_CASE("owner note: is one line of text whatever the command is") {
  auto note = sample();
  note.command = "printf 'a\nb\tc\x1b[31m\x7f' id=9 pid=1 mode=exclusive command=x";
  note.command.push_back('\0');
  const auto text = note.encode();
  CHECK(text.find('\n') == OwnerNote::kSlotSize - 1);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\0') == std::string::npos);
  const auto back = OwnerNote::decode(text);
  REQUIRE(back);
  CHECK(back->process == note.process);
  CHECK(back->id == note.id);
  CHECK(back->mode == note.mode);
  CHECK(back->command == "printf 'a?b?c?[31m?' id=9 pid=1 mode=exclusive command=x?");
}

TEST_CASE("owner note: a long command is cut to the slot") {
  auto note = sample();
  note.command = std::string(5000, 'x');
  const auto text = note.encode();
  CHECK(text.size() == OwnerNote::kSlotSize);
  const auto back = OwnerNote::decode(text);
  REQUIRE(back);
  CHECK(back->command.size() > 300);
  CHECK(back->command.find_first_not_of('x') == std::string::npos);
}

TEST_CASE("owner note: foreign content is no note, or one that can be shown without harm") {
  CHECK_FALSE(OwnerNote::decode(""));
  CHECK_FALSE(OwnerNote::decode(std::string(512, '\0')));
  CHECK_FALSE(OwnerNote::decode(std::string(512, ' ')));
  CHECK_FALSE(OwnerNote::decode("pid=1 start=2 no command here"));
  CHECK_FALSE(OwnerNote::decode(" pid=1 command=x"));
  CHECK_FALSE(OwnerNote::decode("pid=0 since=5 command=x"));
  CHECK_FALSE(OwnerNote::decode("pid=1 since=-1 command=x"));
  const auto* text =
      GENERATE("pid= command=", "pid=x start=y ns=z since=w id=v mode=u command=\x01\x02",
               "pid=-5 start=-1 ns=-1 since=-9223372036854775808 id=0 mode=shared command=x",
               "pid=1 start=1 ns=1 since=9223372036854775807 id=0 mode=shared command=x",
               "pid=99999999999999999999 start=1 ns=1 since=-1 id=0 mode=shared command=x");
  CAPTURE(text);
  const auto note = OwnerNote::decode(text);
  if (note) {
    const auto told = note->describe(sys_seconds(seconds(1763737959)));
    CHECK(told.find('\x01') == std::string::npos);
    CHECK(told.find("-") == std::string::npos);
  }
}

TEST_CASE("owner note: every cut of a note is no note or a shorter command") {
  const auto text = sample().encode();
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto note = OwnerNote::decode(std::string_view(text).substr(0, length));
    if (note) CHECK(sample().command.starts_with(note->command));
  }
}

TEST_CASE("owner note: tells pid, command, clock and age of a live owner") {
  const auto told = sample().describe(sys_seconds(seconds(1763737971)));
  CHECK(told == "pid " + std::to_string(ProcessIdentity::self().pid) +
                    " (apt-cache dumpavail) since 15:12:39 UTC, 12 s ago");
}

TEST_CASE("owner note: an age is never negative after the clock was set back") {
  CHECK_THAT(sample().describe(sys_seconds(seconds(1000))), Catch::EndsWith(" 0 s ago"));
}

TEST_CASE("owner note: says that the owner is gone, or in another PID namespace") {
  auto note = sample();
  Forked child([&](const Link&) { return 0; });
  note.process.pid = child.pid();
  CHECK(child.wait() == 0);
  CHECK_THAT(note.describe(note.since), Catch::Contains("gone"));
  note.process.pid_namespace += 1;
  CHECK_THAT(note.describe(note.since), Catch::Contains("another PID namespace"));
}

TEST_CASE("owner note: is read from the slot it was left in, if it is about that lock") {
  const TempDirectory directory;
  const auto lock = test::open_lock(directory.file("lock"));
  leave_note(lock.descriptor(), 3, sample());
  CHECK(read_note(lock.descriptor(), 3, sample().id));
  CHECK_FALSE(read_note(lock.descriptor(), 3, sample().id + 1));
  CHECK_FALSE(read_note(lock.descriptor(), 2, sample().id));
  CHECK_FALSE(read_note(lock.descriptor(), 4, sample().id));
}

TEST_CASE("owner note: a note that cannot be written changes nothing") {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  leave_note(null.get(), 0, sample());
  leave_note(-1, 0, sample());
  CHECK_FALSE(read_note(null.get(), 0, sample().id));
}

TEST_CASE("owner: a waiter learns who holds the name, also a stopped one") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto holder = holder_of(opened, Slot::of(10), Mode::exclusive, "curl example.org");
  REQUIRE(holder.hear() == "held");
  holder.stop();
  const auto table = table_in(opened);
  CHECK(test::attempt(table, Slot::of(10), Mode::exclusive,
                      Deadline::after(std::chrono::milliseconds(20))) == "busy");
  const auto owner = table.owner(Slot::of(10));
  REQUIRE(owner);
  CHECK(owner->process.pid == holder.pid());
  CHECK(owner->command == "curl example.org");
  CHECK(owner->mode == Mode::exclusive);
  CHECK(liveness(owner->process) == Liveness::alive);
}

TEST_CASE("owner: the holder of the whole is told to who waits for a name, and the reverse") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto table = table_in(opened);
  CHECK_FALSE(table.owner(Slot::whole()));
  {
    auto holder = holder_of(opened, Slot::of(10), Mode::exclusive, "of a name");
    REQUIRE(holder.hear() == "held");
    const auto owner = table.owner(Slot::whole());
    REQUIRE(owner);
    CHECK(owner->command == "of a name");
    CHECK_FALSE(table.owner(Slot::of(20)));
  }
  auto holder = holder_of(opened, Slot::whole(), Mode::exclusive, "of the whole");
  REQUIRE(holder.hear() == "held");
  for (const auto slot : {Slot::of(10), Slot::of(20), Slot::whole()}) {
    const auto owner = table.owner(slot);
    REQUIRE(owner);
    CHECK(owner->command == "of the whole");
  }
}

TEST_CASE("owner: a lock file full of foreign content has no owner") {
  const TempDirectory directory;
  test::write_file(directory.file("cache.lock"), std::string(600000, 'z'));
  const auto opened = directory.open();
  const auto table = table_in(opened);
  CHECK_FALSE(table.owner(Slot::whole()));
  CHECK_FALSE(table.owner(Slot::of(10)));
  CHECK(test::attempt(table, Slot::of(10), Mode::exclusive) == "held");
}

}  // namespace cachectl::lock
