#include "src/daemon/board.hpp"

#include <sys/mman.h>

#include <new>

namespace cachectl::daemon {

Result<Board> Board::create() {
  void* memory =
      ::mmap(nullptr, sizeof(Notice), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(system_error("share memory"));  // NOLINT
  return Board(new (memory) Notice);
}

void Board::Unmap::operator()(Notice* notice) const { ::munmap(notice, sizeof(Notice)); }

}  // namespace cachectl::daemon
