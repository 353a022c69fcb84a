// The library of cachectl, for programs that link it: #include <cachectl/cache.hpp>.
#pragma once

#include "src/cache.hpp"  // IWYU pragma: export
