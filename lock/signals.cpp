#include "lock/signals.hpp"

#include <pthread.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

namespace cachectl::lock {

namespace {

sigset_t trapped(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) {
    // A blocked signal is queued even if it is ignored: do not block that one.
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) ::sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

Result<SignalTrap> SignalTrap::create() {
  return create({SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2});
}

Result<SignalTrap> SignalTrap::create(std::initializer_list<int> signals) {
  const sigset_t set = trapped(signals);
  sigset_t previous;
  ::pthread_sigmask(SIG_BLOCK, &set, &previous);
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    auto failure = system_error("signalfd");
    ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    return fail(std::move(failure));
  }
  return SignalTrap(std::move(fd), previous);
}

SignalTrap::SignalTrap(SignalTrap&& other) noexcept
    : fd_(std::move(other.fd_)), previous_(other.previous_), restores_(other.restores_) {}

SignalTrap::~SignalTrap() {
  if (fd_.valid() && restores_) ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

std::optional<Caught> SignalTrap::take() const {
  signalfd_siginfo info{};
  const auto got = read_some(fd_.get(), std::as_writable_bytes(std::span(&info, 1)), "signals");
  if (!got || *got != sizeof info) return std::nullopt;
  return Caught{static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL};
}

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  ::sigfillset(&all);
  for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

bool is_request_to_end(int signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;
}

void die_by(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(signal);
  ::_exit(128 + signal);  // a signal whose default action does not end a process
}

void ignore_write_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace cachectl::lock
