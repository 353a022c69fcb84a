#include "src/lease/description.hpp"

#include <fcntl.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/temp_directory.hpp"

namespace cachectl::lease {

namespace {

Description example() {
  Description what;
  what.expires = WallTime(std::chrono::milliseconds(1'795'277'082'123));
  what.holder = 4711;
  what.owner = {812, 48213, 4026531836};
  what.since = WallTime(std::chrono::milliseconds(1'795'277'022'000));
  what.key = "user:123";
  what.command = "bash deploy.sh";
  return what;
}

void check_same(const std::optional<Description>& read, const Description& written) {
  REQUIRE(read);
  CHECK(read->ended == written.ended);
  CHECK(read->expires == written.expires);
  CHECK(read->holder == written.holder);
  CHECK(read->owner == written.owner);
  CHECK(read->since == written.since);
  CHECK(read->mode == written.mode);
  CHECK(read->key == written.key);
  CHECK(read->command == written.command);
}

}  // namespace

TEST_CASE("description: what is written is read again") {
  auto what = example();
  check_same(Description::decode(what.encode()), what);
  what.key.reset();
  what.mode = lock::Mode::shared;
  what.expires = kNever;
  for (const auto ended : {Ended::no, Ended::owner, Ended::expired, Ended::signal}) {
    what.ended = ended;
    check_same(Description::decode(what.encode()), what);
  }
}

TEST_CASE("description: keys and commands may hold any bytes") {
  auto what = example();
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& text :
       {std::string("\nended=expired\n"), std::string("a\0b", 3), all, std::string("\\n\\x41\\"),
        std::string("  blanks  "), std::string("\n"), std::string(4096, '\x01')}) {
    what.key = text;
    what.command = text;
    const auto encoded = what.encode();
    CHECK(std::count(encoded.begin(), encoded.end(), '\n') == 9);
    check_same(Description::decode(encoded), what);
  }
}

TEST_CASE("description: what is cut or damaged is none, or reads as one, and never crashes") {
  const auto text = example().encode();
  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto read = Description::decode(text.substr(0, size));
    if (size < text.find("since=")) CHECK_FALSE(read);
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    [[maybe_unused]] const auto read = Description::decode(damaged);
  }
}

TEST_CASE("description: the fields that change are overwritten in place") {
  const test::TempDirectory directory;
  test::write_file(directory.file("lease"), example().encode());
  const auto file = directory.open().open_file("lease", O_RDWR);
  REQUIRE(file);
  auto what = example();
  note_end(file->get(), what.ended = Ended::expired);
  note_holder(file->get(), what.holder = 1234567);
  note_expiry(file->get(), what.expires = kNever);
  CHECK(test::content_of(directory.file("lease")) == what.encode());
  note_end(file->get(), what.ended = Ended::no);
  note_holder(file->get(), what.holder = 1);
  note_expiry(file->get(), what.expires = WallTime(std::chrono::milliseconds(1)));
  CHECK(test::content_of(directory.file("lease")) == what.encode());
}

}  // namespace cachectl::lease
