#include "src/lease/protocol.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "src/lease/id.hpp"

namespace cachectl::lease {

TEST_CASE("protocol: requests are read as they were written") {
  CHECK(Request::decode("descriptor")->kind == Request::Kind::descriptor);
  CHECK(Request::decode("release")->kind == Request::Kind::release);
  for (const auto duration : {std::chrono::nanoseconds(1), std::chrono::nanoseconds::max()}) {
    const auto read = Request::decode(Request{Request::Kind::renew, duration}.encode());
    REQUIRE(read);
    CHECK(read->kind == Request::Kind::renew);
    CHECK(read->duration == duration);
  }
}

TEST_CASE("protocol: what is no request is none") {
  for (const char* text : {"", "descriptor ", "Release", "renew", "renew ", "renew 0", "renew -1",
                           "renew 1s", "renew 99999999999999999999", "release\n"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(Request::decode(text));
  }
}

TEST_CASE("protocol: locks name the descriptors that come with them") {
  const lock::OuterLocks locks{{7, 0, lock::Slot::whole(), lock::Mode::exclusive},
                               {9, 1, lock::Slot::of(5), lock::Mode::shared}};
  lock::Message message;
  message.text = encode_locks(locks);
  CHECK(message.text == "ok 0:0:0:x,1:1:5:s");
  CHECK_FALSE(decode_locks(message));  // fewer descriptors than locks
  message.descriptors.emplace_back(::dup(STDIN_FILENO));
  CHECK_FALSE(decode_locks(message));
  message.descriptors.emplace_back(::dup(STDIN_FILENO));
  const auto read = decode_locks(message);
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  CHECK((*read)[0].descriptor == message.descriptors[0].get());
  CHECK((*read)[1].descriptor == message.descriptors[1].get());
  CHECK((*read)[1].depth == 1);
  CHECK((*read)[1].mode == lock::Mode::shared);
  for (const char* text : {"", "ok", "ok ", "no such request", "ok x", "ok 0:0:0:x,"}) {
    message.text = text;
    INFO("'" << text << "'");
    CHECK_FALSE((decode_locks(message) && message.text != "ok 0:0:0:x,"));
  }
}

TEST_CASE("id: is 16 digits, and nothing else is one") {
  const auto first = Id::fresh();
  const auto second = Id::fresh();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->text() != second->text());
  CHECK(Id::parse(first->text()));
  for (const std::string& text :
       {std::string(), std::string("../x"), std::string(300, 'a'), std::string(15, '0'),
        std::string(17, '0'), std::string("0123456789ABCDEF"), std::string("0123456789abcde\n")}) {
    const auto parsed = Id::parse(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::usage);
    CHECK(parsed.error().message.size() < 100);
  }
}

}  // namespace cachectl::lease
