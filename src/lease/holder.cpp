#include "src/lease/holder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lock/detach.hpp"
#include "lock/local_socket.hpp"
#include "lock/retry.hpp"
#include "lock/signals.hpp"
#include "src/lease/description.hpp"
#include "src/lease/protocol.hpp"

namespace cachectl::lease {

namespace {

using lock::Deadline;
using lock::Fd;
using telemetry::What;

/// Clients that are connected at a time. Who says nothing must not shut the others out:
/// the oldest has to go.
constexpr std::size_t kMostClients = 64;

class Holder {
 public:
  Holder(const HolderParts& parts, Fd acquirer, lock::SignalTrap trap)
      : parts_(parts),
        acquirer_(std::move(acquirer)),
        trap_(std::move(trap)),
        deadline_(Deadline::after(parts.duration)) {}

  [[noreturn]] void hold() {
    note_holder(parts_.file, ::getpid());
    if (!lock::send_message(acquirer_.get(), "ready")) withdraw();
    while (true) {
      wait();
      if (watched_[kOwner].revents != 0) end(Ended::owner);
      if (deadline_.passed()) end(Ended::expired);
      if (watched_[kSignals].revents != 0 && told_to_end()) end(Ended::signal);
      if (watched_[kAcquirer].revents != 0) hear_acquirer();
      // Last to first, as one that is gone is taken out.
      for (std::size_t index = clients_.size(); index-- > 0;) {
        if (watched_[kFixed + index].revents != 0) serve(index);
      }
      if (watched_[kListener].revents != 0) accept();
    }
  }

 private:
  // Places in watched_; the clients follow.
  static constexpr std::size_t kOwner = 0;
  static constexpr std::size_t kSignals = 1;
  static constexpr std::size_t kAcquirer = 2;
  static constexpr std::size_t kListener = 3;
  static constexpr std::size_t kFixed = 4;

  void wait() {
    watched_.clear();
    for (const int descriptor :
         {parts_.owner, trap_.descriptor(), acquirer_.get(), parts_.listener}) {
      watched_.push_back({descriptor, POLLIN, 0});
    }
    for (const auto& client : clients_) watched_.push_back({client.get(), POLLIN, 0});
    int timeout = -1;
    if (!deadline_.is_never()) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline_.at() - Deadline::Clock::now());
      timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }
    if (::poll(watched_.data(), watched_.size(), timeout) < 0) {
      for (auto& each : watched_) each.revents = 0;
    }
  }

  bool told_to_end() const {
    while (const auto caught = trap_.take()) {
      if (lock::is_request_to_end(caught->signal)) return true;
    }
    return false;
  }

  /// The acquirer has told its caller the id, or died before that: then nobody knows it.
  void hear_acquirer() {
    const auto message = lock::receive_message(acquirer_.get(), Deadline::immediately());
    if (!message || !*message) withdraw();
    acquirer_.reset();
  }

  void accept() {
    Fd client(::accept4(parts_.listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client.valid() || !lock::is_peer_trusted(client.get())) return;
    if (clients_.size() == kMostClients) clients_.erase(clients_.begin());
    clients_.push_back(std::move(client));
  }

  void serve(std::size_t index) {
    const int client = clients_[index].get();
    const auto message = lock::receive_message(client, Deadline::immediately());
    if (!message || !*message || !answer(client, (*message)->text)) {
      clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }

  bool answer(int client, const std::string& text) {
    const auto request = Request::decode(text);
    if (!request) return lock::send_message(client, "no such request");
    switch (request->kind) {
      case Request::Kind::descriptor: {
        std::vector<int> descriptors;
        for (const auto& lock : parts_.locks) descriptors.push_back(lock.descriptor);
        return lock::send_message(client, encode_locks(parts_.locks), descriptors);
      }
      case Request::Kind::renew:
        deadline_ = Deadline::after(request->duration);
        note_expiry(parts_.file, later(SystemClock().now(), request->duration));
        return lock::send_message(client, kOk);
      case Request::Kind::release:
        break;
    }
    release(client);
  }

  [[noreturn]] void release(int client) {
    forget();
    let_go();
    [[maybe_unused]] const bool told = lock::send_message(client, kOk);
    ::_exit(0);
  }

  [[noreturn]] void withdraw() {
    forget();
    let_go();
    ::_exit(0);
  }

  /// The file stays, so that who comes with the id is told what became of it.
  [[noreturn]] void end(Ended why) {
    note_end(parts_.file, why);
    unlink(parts_.id.socket());
    let_go();
    // With its owner nobody is left who could miss it.
    if (why != Ended::owner) parts_.root->tell({What::lease_lost, parts_.key});
    ::_exit(0);
  }

  void forget() const {
    unlink(parts_.id.socket());
    unlink(parts_.id.text());
  }

  void unlink(const std::string& name) const {
    [[maybe_unused]] const auto removed = parts_.leases->unlink(name);
  }

  void let_go() const {
    for (const auto& lock : parts_.locks) ::close(lock.descriptor);
    ::close(parts_.file);
    parts_.root->tell(
        {parts_.is_replica ? What::checked_in : What::lock_released, parts_.key, held_.elapsed()});
  }

  const HolderParts& parts_;
  Fd acquirer_;
  lock::SignalTrap trap_;
  Deadline deadline_;
  telemetry::Stopwatch held_;
  std::vector<Fd> clients_;
  std::vector<pollfd> watched_;
};

/// Holds on to nothing of its caller's, not even to the file system that he works in.
bool leave_caller(const HolderParts& parts, int acquirer) {
  std::vector<int> kept{acquirer,
                        parts.owner,
                        parts.listener,
                        parts.file,
                        parts.leases->descriptor(),
                        parts.root->directory().descriptor()};
  for (const auto& lock : parts.locks) kept.push_back(lock.descriptor);
  if (::chdir("/") != 0 || !lock::detach(std::move(kept))) return false;
  parts.root->tell_left_caller();
  ::prctl(PR_SET_NAME, "cachectl-lease");
  return true;
}

[[noreturn]] void become_holder(const HolderParts& parts, Fd acquirer) {
  if (!leave_caller(parts, acquirer.get())) ::_exit(1);
  auto trap = lock::SignalTrap::create();
  if (!trap) ::_exit(1);
  Holder(parts, std::move(acquirer), std::move(*trap)).hold();
}

}  // namespace

Result<Fd> start_holder(const HolderParts& parts) {
  CACHECTL_ASSIGN(auto ends, lock::socket_pair());
  auto& [ours, theirs] = ends;
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error("fork"));
  if (child == 0) {
    // Twice, so that it is nobody's child and cannot get a terminal back.
    ::setsid();
    const pid_t holder = ::fork();
    if (holder == 0) become_holder(parts, std::move(theirs));
    ::_exit(holder < 0 ? 1 : 0);
  }
  theirs.reset();
  int status = 0;
  lock::retry([&] { return ::waitpid(child, &status, 0); });
  CACHECTL_ASSIGN(const auto message, lock::receive_message(ours.get(), Deadline::never()));
  if (!message) return fail(Errc::io, "the process that was to hold the lease did not start");
  return std::move(ours);
}

}  // namespace cachectl::lease
