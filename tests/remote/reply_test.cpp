#include "src/remote/reply.hpp"

#include <catch2/catch.hpp>
#include <cstring>

namespace cachectl::test {

namespace {

using remote::Reply;
using remote::ReplyReader;

void put(ReplyReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto room = reader.room();
    const auto part = bytes.substr(0, room.size());
    std::memcpy(room.data(), part.data(), part.size());
    reader.received(part.size());
    bytes.remove_prefix(part.size());
  }
}

std::string text_of(const Reply& reply) {
  switch (reply.type) {
    case Reply::Type::string:
      return "string " + reply.text;
    case Reply::Type::status:
      return "status " + reply.text;
    case Reply::Type::error:
      return "error " + reply.text;
    case Reply::Type::integer:
      return "integer " + std::to_string(reply.integer);
    case Reply::Type::nil:
      return "nil";
    case Reply::Type::array:
      break;
  }
  std::string text = "array";
  for (const auto& element : reply.elements) text += " (" + text_of(*element) + ")";
  return text;
}

void take_all(ReplyReader& reader, std::vector<std::string>& into) {
  while (auto reply = reader.next()) {
    into.push_back(text_of(*reply));
    reader.give_back(std::move(reply));
  }
}

std::string bulk(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

}  // namespace

TEST_CASE("reply: what is said is the same, wherever it is cut") {
  const std::string said = bulk("first") + "+OK\r\n" + bulk("") + "$-1\r\n" + bulk("a\r\n$3\r\nb") +
                           ":-7\r\n" + "*3\r\n" + bulk("in") + ":4\r\n*1\r\n$-1\r\n" +
                           "-ERR no\r\n" + bulk("last");
  const std::vector<std::string> meant{"string first",
                                       "status OK",
                                       "string ",
                                       "nil",
                                       "string a\r\n$3\r\nb",
                                       "integer -7",
                                       "array (string in) (integer 4) (array (nil))",
                                       "error ERR no",
                                       "string last"};
  for (std::size_t first = 0; first <= said.size(); ++first) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, said.size()}) {
      INFO("cut after " << first << ", then every " << step);
      ReplyReader reader;
      std::vector<std::string> heard;
      put(reader, std::string_view(said).substr(0, first));
      take_all(reader, heard);
      for (std::size_t at = first; at < said.size(); at += step) {
        put(reader, std::string_view(said).substr(at, step));
        take_all(reader, heard);
      }
      CHECK(heard == meant);
      CHECK(reader.is_empty());
      CHECK_FALSE(reader.failed());
    }
  }
}

TEST_CASE("reply: long and short strings in turns arrive as they are") {
  ReplyReader reader;
  std::string said;
  std::vector<std::string> meant;
  for (const std::size_t size :
       {100U, 131'071U, 131'072U, 131'073U, 5U, 1'000'000U, 1U, 300'000U}) {
    std::string text(size, 'a');
    for (std::size_t at = 0; at < size; ++at) text[at] = static_cast<char>('a' + at * 7 % 26);
    said += bulk(text);
    meant.push_back("string " + text);
  }
  std::vector<std::string> heard;
  SECTION("taken as they come") {
    for (std::size_t at = 0; at < said.size(); at += 50'000) {
      put(reader, std::string_view(said).substr(at, 50'000));
      take_all(reader, heard);
    }
  }
  SECTION("all of them, and then taken") {
    put(reader, said);
    take_all(reader, heard);
  }
  CHECK((heard == meant));
  CHECK(reader.is_empty());
}

TEST_CASE("reply: what is no reply is found out, and what came before it is not lost") {
  for (const auto* garbage :
       {"$3\r\nabcd\r\n", "$12345678901234567890\r\n", "$x\r\n", "HTTP/1.1\r\n", "$99999999999\r\n",
        "*99999\r\n", "$00000000000000000000003\r\nabc\r\n"}) {
    INFO(garbage);
    ReplyReader reader;
    put(reader, bulk("good") + garbage + std::string(100, 'x'));
    const auto good = reader.next();
    REQUIRE(good != nullptr);
    CHECK(text_of(*good) == "string good");
    if (std::string_view(garbage) == "$3\r\nabcd\r\n") {
      CHECK(reader.next() == nullptr);
      CHECK(reader.failed());
    }
    std::unique_ptr<Reply> next;
    while (!reader.failed() && (next = reader.next()) != nullptr) {
      CHECK(text_of(*next).find("xx") == std::string::npos);
    }
    CHECK((reader.failed() || next == nullptr));
  }
}

}  // namespace cachectl::test
