#include "cli/dispatch.hpp"
#include "lock/signals.hpp"

int main(int argc, char** argv) {
  cachectl::lock::ignore_write_signals();
  return cachectl::cli::dispatch(std::vector<std::string>(argv + 1, argv + argc));
}
