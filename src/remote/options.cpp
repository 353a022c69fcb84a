#include "src/remote/options.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "lock/fd.hpp"
#include "lock/number.hpp"
#include "lock/retry.hpp"

namespace cachectl::remote {

namespace {

constexpr std::string_view kTcp = "redis://";
constexpr std::string_view kTls = "rediss://";
constexpr std::string_view kUnix = "unix:";
constexpr std::size_t kLongestPassword = 4096;

/// No message shows the URL: what is wrong with it may be a password in the wrong place.
tl::unexpected<Error> wrong_url(std::string_view why) {
  return fail(Errc::usage, "the URL of the Redis server: " + std::string(why),
              "write redis://[user@]host[:port][/database] or unix:/path[?db=N]");
}

Result<std::uint32_t> parse_database(std::string_view text) {
  std::uint32_t database = 0;
  if (!parse_number(text, database)) return wrong_url("the database is not a number");
  return database;
}

Result<Address> parse_unix(std::string_view rest) {
  Address address;
  const auto question = rest.find('?');
  address.path = rest.substr(0, question);
  if (!address.path.starts_with('/')) return wrong_url("the path of the socket is not absolute");
  if (question == std::string_view::npos) return address;
  const auto query = rest.substr(question + 1);
  if (!query.starts_with("db=")) return wrong_url("behind '?' only db=N is known");
  CACHECTL_ASSIGN(address.database, parse_database(query.substr(3)));
  return address;
}

/// False: `text` is none. What it does not say stays.
bool fill_host_and_port(std::string_view text, Address& address) {
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return false;
    address.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else {
    const auto colon = text.find(':');
    address.host = text.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (address.host.empty() || address.host.starts_with('-')) return false;
  return port.empty() ||
         (port[0] == ':' && parse_number(port.substr(1), address.port) && address.port != 0);
}

Result<Address> parse_tcp(std::string_view rest) {
  Address address;
  // The last one, as a password may hold another.
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    const auto user = rest.substr(0, at);
    if (user.find(':') != std::string_view::npos) {
      return fail(Errc::usage, "the URL of the Redis server: it holds a password",
                  "take it out; set redis.password-file or $CACHECTL_REDIS_PASSWORD");
    }
    address.user = user;
    rest.remove_prefix(at + 1);
  }
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    const auto database = rest.substr(slash + 1);
    if (!database.empty()) {
      CACHECTL_ASSIGN(address.database, parse_database(database));
    }
    rest = rest.substr(0, slash);
  }
  if (!fill_host_and_port(rest, address)) {
    return wrong_url("it names no host, or the port is not a number from 1 to 65535");
  }
  return address;
}

}  // namespace

std::string Address::describe() const {
  if (!path.empty()) return "unix:" + path;
  const bool is_v6 = host.find(':') != std::string::npos;
  return "redis://" + (is_v6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

Result<Address> parse_url(std::string_view url) {
  for (const char c : url) {
    const auto code = static_cast<unsigned char>(c);
    if (code <= ' ' || code == 127) return wrong_url("it holds a blank or a control character");
  }
  if (url.starts_with(kUnix)) return parse_unix(url.substr(kUnix.size()));
  if (url.starts_with(kTcp)) return parse_tcp(url.substr(kTcp.size()));
  if (url.starts_with(kTls)) {
    return fail(Errc::unsupported,
                "the URL of the Redis server: rediss:// needs TLS, which the "
                "Redis client of this build does not know",
                "let stunnel or ghostunnel listen on a Unix socket, and write unix:/path");
  }
  return wrong_url("it starts with neither redis:// nor unix:");
}

Result<Address> parse_host_and_port(std::string_view text, std::uint16_t port) {
  Address address;
  address.port = port;
  const bool is_text = std::all_of(text.begin(), text.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code > ' ' && code < 127 && c != '@' && c != '/';
  });
  if (is_text && fill_host_and_port(text, address)) return address;
  // Not shown, like a URL: it may hold a password.
  return fail(Errc::usage, "a server is neither host:port nor [address]:port");
}

Result<std::string> read_password(const std::string& file) {
  const std::string what = "the Redis password in " + file;
  const lock::Fd opened(lock::retry(
      [&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); }));
  if (!opened.valid()) return fail(system_error(what));
  CACHECTL_ASSIGN(const auto status, lock::status_of(opened.get(), what));
  if (!S_ISREG(status.st_mode)) return fail(Errc::refused, what + ": it is not a regular file");
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Errc::refused, what + ": others than its owner may use the file",
                "run chmod 600 on it, and take another password if it was read");
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return fail(Errc::refused, what + ": the file belongs to another user");
  }
  std::string text(kLongestPassword + 1, '\0');
  CACHECTL_ASSIGN(const auto size,
                  lock::read_full(opened.get(), std::as_writable_bytes(std::span(text)), what));
  text.resize(size);
  if (const auto end = text.find_first_of("\r\n"); end != std::string::npos) text.resize(end);
  if (text.empty()) return fail(Errc::config, what + ": its first line is empty");
  if (text.size() > kLongestPassword) return fail(Errc::config, what + ": it is too long");
  return text;
}

}  // namespace cachectl::remote
