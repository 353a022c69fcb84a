#include "src/remote/options.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

using remote::Address;
using remote::parse_url;
using remote::read_password;

TEST_CASE("remote options: a URL names a server") {
  const auto tcp = [](std::string host, std::uint16_t port, std::uint32_t database = 0,
                      std::string user = {}) {
    return Address{{}, std::move(host), port, database, std::move(user)};
  };
  CHECK(*parse_url("redis://cache") == tcp("cache", 6379));
  CHECK(*parse_url("redis://cache/") == tcp("cache", 6379));
  CHECK(*parse_url("redis://10.0.0.1:7000/3") == tcp("10.0.0.1", 7000, 3));
  CHECK(*parse_url("redis://ci@cache:7000") == tcp("cache", 7000, 0, "ci"));
  CHECK(*parse_url("redis://[::1]:7000/1") == tcp("::1", 7000, 1));
  CHECK(*parse_url("redis://[fe80::2]") == tcp("fe80::2", 6379));
  CHECK(*parse_url("unix:/run/redis.sock") == Address{"/run/redis.sock", {}, 6379, 0, {}});
  CHECK(*parse_url("unix:/run/redis.sock?db=5") == Address{"/run/redis.sock", {}, 6379, 5, {}});
  CHECK(parse_url("redis://[::1]:7000/1")->describe() == "redis://[::1]:7000");
  CHECK(parse_url("unix:/run/r?db=5")->describe() == "unix:/run/r");
}

TEST_CASE("remote options: what is no URL is refused, and not repeated") {
  const auto* const wrong = GENERATE(
      "", "cache:6379", "http://cache", "redis://", "redis://:6379", "redis://cache:port",
      "redis://cache:0", "redis://cache:65536", "redis://cache:", "redis://cache/one",
      "redis://cache/-1", "redis://[::1", "redis://[::1]7000", "redis://-flag", "redis://a b",
      "redis://cache\n", "unix:relative", "unix:/s?database=1", "unix:/s?db=", "unix:");
  INFO(wrong);
  const auto parsed = parse_url(wrong);
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == Errc::usage);
}

TEST_CASE("remote options: a password in the URL is refused, and shown nowhere") {
  for (const auto* url :
       {"redis://user:secret@host", "redis://:secret@host:1/2", "redis://u:se@secret@host",
        "rediss://u:secret@host", "redis//u:secret@host", "unix:secret", "redis://host:secret"}) {
    const auto parsed = parse_url(url);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().describe().find("secret") == std::string::npos);
  }
  const auto tls = parse_url("rediss://host");
  CHECK(tls.error().code == Errc::unsupported);
  CHECK(tls.error().describe().find("TLS") != std::string::npos);
}

TEST_CASE("remote options: the password is the first line of a file that nobody else reads") {
  const TempDirectory temp;
  const auto file = temp.file("password");
  write_file(file, "s3cret\nnot this\n");
  ::chmod(file.c_str(), 0600);
  CHECK(*read_password(file) == "s3cret");
  for (const mode_t mode : {0640, 0604, 0620, 0601}) {
    ::chmod(file.c_str(), mode);
    const auto refused = read_password(file);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    CHECK(refused.error().describe().find("s3cret") == std::string::npos);
  }
  ::chmod(file.c_str(), 0600);
  if (::geteuid() == 0) {
    REQUIRE(::chown(file.c_str(), 1234, 1234) == 0);
    CHECK(read_password(file).error().code == Errc::refused);
  }
  CHECK(read_password(temp.file("none")).error().code == Errc::io);
  CHECK(read_password(temp.path()).error().code == Errc::refused);
  write_file(temp.file("empty"), "\n");
  ::chmod(temp.file("empty").c_str(), 0600);
  CHECK(read_password(temp.file("empty")).error().code == Errc::config);
}

}  // namespace cachectl::test
