#include "lock/result.hpp"

#include <cstring>

namespace cachectl {

namespace {

Errc code_of(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return Errc::permission;
    case EROFS:
      return Errc::read_only;
    default:
      return Errc::io;
  }
}

}  // namespace

std::string Error::describe() const {
  if (advice.empty()) return message;
  return message + " (" + advice + ")";
}

Error Error::within(std::string_view context) && {
  message.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

Error system_error(std::string_view what, int error) {
  // strerror_r of glibc: thread-safe, and without the locale machinery of std::system_category.
  char buffer[128];
  const char* text = ::strerror_r(error, buffer, sizeof buffer);
  return Error{code_of(error), error, std::string(what) + ": " + text, {}};
}

}  // namespace cachectl
