// What is said to a Redis server and what it answers (RESP2).
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lock/fd.hpp"

struct redisReader;

namespace cachectl::remote {

/// Commands for one exchange, in the form that goes over the wire. Written here, as the
/// formatter of hiredis makes a copy of each command that would only be copied again.
class Commands {
 public:
  Commands& add(std::span<const std::string_view> arguments);
  Commands& add(std::initializer_list<std::string_view> arguments) {
    return add(std::span(arguments.begin(), arguments.size()));
  }
  /// One that at() gave.
  Commands& add_encoded(std::string_view command);
  [[nodiscard]] std::size_t count() const { return ends_.size(); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  /// The bytes of one of them.
  [[nodiscard]] std::string_view at(std::size_t index) const {
    const auto begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(bytes_).substr(begin, ends_[index] - begin);
  }

 private:
  std::string bytes_;
  std::vector<std::size_t> ends_;
};

struct Reply {
  enum class Type { string, status, error, integer, nil, array };
  Type type = Type::nil;
  std::string text;  ///< of string, status and error
  long long integer = 0;
  std::vector<std::unique_ptr<Reply>> elements;

  [[nodiscard]] bool is(Type other) const { return type == other; }
};

/// Parses what the server sends. hiredis does, all but short strings; its sockets stay unused (see
/// connection.hpp), and so does its own kind of reply, which would bring them into a static
/// program.
class ReplyReader {
 public:
  ReplyReader();

  /// Where to put what has come next, and then how much of it that was.
  [[nodiscard]] std::span<std::byte> room();
  void received(std::size_t size);
  /// The next complete one, or null: more has to come, or `failed`.
  [[nodiscard]] std::unique_ptr<Reply> next();
  /// Spares the next one its allocations, if it is small.
  void give_back(std::unique_ptr<Reply> reply);
  /// This is not the protocol, or not what a server says to us; use it no more.
  [[nodiscard]] bool failed() const { return failed_; }
  /// Nothing of a reply has come that was not taken.
  [[nodiscard]] bool is_empty() const;

 private:
  struct Free {
    void operator()(redisReader* reader) const;
  };
  void feed(lock::Bytes part);
  [[nodiscard]] std::unique_ptr<Reply> short_string(bool& is_cut);

  std::unique_ptr<redisReader, Free> reader_;
  std::vector<std::byte> block_;  // none before the first is wanted
  lock::Bytes unfed_;             // what hiredis was not given yet, in block_
  std::unique_ptr<Reply> spare_;
  std::size_t pending_ = 0;  // bytes since the last complete reply
  bool failed_ = false;
};

}  // namespace cachectl::remote
