#include "src/daemon/notify.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lock/number.hpp"
#include "lock/retry.hpp"

namespace cachectl::daemon {

namespace {

constexpr const char* kSocket = "NOTIFY_SOCKET";
constexpr const char* kWatchdog = "WATCHDOG_USEC";
constexpr const char* kWatchdogPid = "WATCHDOG_PID";

/// Empty: not set.
std::string_view variable(const Notify::Environment& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

Result<std::uint64_t> number(std::string_view text, const char* name) {
  std::uint64_t value = 0;
  if (parse_number(text, value)) return value;
  return fail(Errc::config, std::string(name) + ": '" + std::string(text) + "' is no number");
}

Result<std::string> address_of(std::string_view name) {
  const bool is_abstract = name.front() == '@';
  if ((!is_abstract && name.front() != '/') || name.size() < 2) {
    return fail(Errc::config, std::string(kSocket) + ": '" + std::string(name) +
                                  "' is neither a path nor an abstract socket");
  }
  if (name.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(Errc::config, std::string(kSocket) + ": the name is too long");
  }
  std::string address(name);
  if (is_abstract) address.front() = '\0';
  return address;
}

}  // namespace

Result<Notify> Notify::create(const Environment& environment, pid_t own_pid) {
  Notify notify;
  const auto name = variable(environment, kSocket);
  if (name.empty()) return notify;
  CACHECTL_ASSIGN(notify.address_, address_of(name));
  notify.socket_ = lock::Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!notify.socket_.valid()) return fail(system_error("socket"));
  const timeval patience{2, 0};
  ::setsockopt(notify.socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);

  const auto limit = variable(environment, kWatchdog);
  if (limit.empty()) return notify;
  if (const auto pid = variable(environment, kWatchdogPid); !pid.empty()) {
    CACHECTL_ASSIGN(const auto whose, number(pid, kWatchdogPid));
    if (whose != static_cast<std::uint64_t>(own_pid)) return notify;
  }
  CACHECTL_ASSIGN(const auto microseconds, number(limit, kWatchdog));
  constexpr std::uint64_t kLongest = 1'000'000ULL * 3600 * 24 * 365;
  if (microseconds == 0 || microseconds > kLongest) return notify;
  notify.sign_interval_ = std::max<std::chrono::nanoseconds>(
      std::chrono::microseconds(microseconds) / 2, std::chrono::milliseconds(1));
  notify.next_sign_ = Time::min();
  return notify;
}

Result<Notify> Notify::adopt() {
  auto notify = create(::getenv, ::getpid());
  for (const char* name : {kSocket, kWatchdog, kWatchdogPid}) ::unsetenv(name);
  return notify;
}

bool Notify::send(std::string_view message) const {
  if (!socket_.valid()) return true;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  // The name of an abstract socket ends with the address, a path with its NUL.
  const auto size =
      offsetof(sockaddr_un, sun_path) + address_.size() + (address_.front() == '\0' ? 0 : 1);
  return lock::retry([&] {
           return ::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL,
                           reinterpret_cast<const sockaddr*>(&to), static_cast<socklen_t>(size));
         }) >= 0;
}

void Notify::status(std::string_view text) {
  if (text == last_status_) return;
  last_status_ = text;
  std::string line = "STATUS=" + last_status_;
  for (char& byte : line) {
    if (static_cast<unsigned char>(byte) < 0x20) byte = '?';  // a newline would end it
  }
  send(line);
}

void Notify::give_sign(Time now) {
  if (!next_sign_ || now < *next_sign_) return;
  send("WATCHDOG=1");
  next_sign_ = now + sign_interval_;
}

std::string monotonic_stamp() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return fmt::format("MONOTONIC_USEC={}",
                     std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000);
}

}  // namespace cachectl::daemon
