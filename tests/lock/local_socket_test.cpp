#include "lock/local_socket.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using test::Forked;
using test::Link;
using test::TempDirectory;

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

}  // namespace

TEST_CASE("local socket: messages keep their borders, and descriptors come with them") {
  auto ends = socket_pair();
  REQUIRE(ends);
  const TempDirectory directory;
  test::write_file(directory.file("a"), "content");
  const auto file = directory.open().open_file("a", O_RDONLY);
  REQUIRE(file);
  const std::array<int, 2> sent{file->get(), file->get()};
  CHECK(send_message(ends->first.get(), "one", sent));
  CHECK(send_message(ends->first.get(), "two"));
  const auto first = receive_message(ends->second.get(), soon());
  REQUIRE((first && *first));
  CHECK((*first)->text == "one");
  REQUIRE((*first)->descriptors.size() == 2);
  const int received = (*first)->descriptors[0].get();
  CHECK((::fcntl(received, F_GETFD) & FD_CLOEXEC) != 0);
  std::array<char, 7> buffer{};
  CHECK(::pread(received, buffer.data(), buffer.size(), 0) == 7);
  const auto second = receive_message(ends->second.get(), soon());
  REQUIRE((second && *second));
  CHECK((*second)->text == "two");
  ends->first.reset();
  const auto gone = receive_message(ends->second.get(), soon());
  REQUIRE(gone);
  CHECK_FALSE(*gone);
  CHECK_FALSE(send_message(ends->second.get(), "three"));
}

TEST_CASE("local socket: who does not answer is given up at the deadline") {
  const auto ends = socket_pair();
  REQUIRE(ends);
  const auto nothing =
      receive_message(ends->first.get(), Deadline::after(std::chrono::milliseconds(20)));
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code == Errc::timeout);
}

TEST_CASE("local socket: is reached by its name in a directory, however deep that lies") {
  const TempDirectory directory;
  const auto deep = directory.file(std::string(200, 'd'));
  std::filesystem::create_directory(deep);
  const auto opened = Directory::open(deep);
  REQUIRE(opened);
  const auto before = connect_to(*opened, "socket", soon());
  REQUIRE(before);
  CHECK_FALSE(*before);
  auto listener = listen_at(*opened, "socket");
  REQUIRE(listener);
  struct stat status {};
  REQUIRE(::stat((deep + "/socket").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 0600);
  const auto connected = connect_to(*opened, "socket", soon());
  REQUIRE((connected && *connected));
  CHECK(is_peer_trusted((*connected)->get()));
  CHECK_FALSE(listen_at(*opened, "socket"));
  listener->reset();
  const auto after = connect_to(*opened, "socket", soon());
  REQUIRE(after);
  CHECK_FALSE(*after);
}

TEST_CASE("local socket: a link or a file in its place is refused") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto listener = listen_at(opened, "socket");
  REQUIRE(listener);
  std::filesystem::create_symlink(directory.file("socket"), directory.file("link"));
  test::write_file(directory.file("file"), "");
  for (const char* name : {"link", "file"}) {
    const auto connected = connect_to(opened, name, soon());
    REQUIRE_FALSE(connected);
    CHECK(connected.error().code == Errc::refused);
  }
}

TEST_CASE("local socket: another user is not trusted") {
  if (::geteuid() != 0) {
    WARN("only root can be another user: not tested");
    return;
  }
  Forked child([](const Link& link) {
    if (::seteuid(65534) != 0) return 1;
    const auto ends = socket_pair();  // it remembers who made it
    if (!ends || ::seteuid(0) != 0) return 1;
    const auto own = socket_pair();
    link.say(is_peer_trusted(ends->first.get())         ? "trusted"
             : own && is_peer_trusted(own->first.get()) ? "right"
                                                        : "own refused");
    return 0;
  });
  CHECK(child.hear() == "right");
}

}  // namespace cachectl::lock
