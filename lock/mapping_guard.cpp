#include "lock/mapping_guard.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

namespace cachectl::lock {

/// begin is set last and cleared first.
struct MappingGuard::Slot {
  std::atomic<bool> taken = false;
  std::atomic<bool> tripped = false;
  std::atomic<std::uintptr_t> begin = 0;
  std::atomic<std::uintptr_t> end = 0;
};
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

namespace {

struct Guarding {
  std::array<MappingGuard::Slot, 128> slots;
  struct sigaction before {};
  std::uintptr_t page = 0;
};
Guarding guarding;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): of a handler

/// Whether the address is in a guarded mapping, where there is a page now.
bool provide(std::uintptr_t at) {
  for (auto& slot : guarding.slots) {
    const auto begin = slot.begin.load();
    if (begin == 0 || at < begin || at >= slot.end.load()) continue;
    auto* const page = reinterpret_cast<void*>(at / guarding.page * guarding.page);
    if (::mmap(page, guarding.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
               -1, 0) == MAP_FAILED) {
      return false;
    }
    slot.tripped = true;
    return true;
  }
  return false;
}

extern "C" void on_bus_error(int signal, siginfo_t* info, void*) {
  const int error = errno;
  // Positive: a fault, with its address.
  if (info->si_code <= 0 || !provide(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    ::sigaction(SIGBUS, &guarding.before, nullptr);
    ::raise(signal);  // delivered when we return
  }
  errno = error;
}

bool install() {
  guarding.page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction ours {};
  ours.sa_sigaction = on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigemptyset(&ours.sa_mask);
  return ::sigaction(SIGBUS, &ours, &guarding.before) == 0;
}

}  // namespace

MappingGuard::MappingGuard(const void* start, std::size_t size) {
  static const bool installed = install();
  if (!installed) return;
  for (auto& slot : guarding.slots) {
    if (slot.taken.exchange(true)) continue;
    slot_ = &slot;
    const auto begin = reinterpret_cast<std::uintptr_t>(start);
    slot.tripped = false;
    slot.end = begin + size;
    slot.begin = begin;
    return;
  }
}

MappingGuard::~MappingGuard() {
  if (slot_ == nullptr) return;
  slot_->begin = 0;
  slot_->taken = false;
}

bool MappingGuard::is_tripped() const { return slot_ != nullptr && slot_->tripped; }

}  // namespace cachectl::lock
