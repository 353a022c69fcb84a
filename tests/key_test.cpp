#include "src/key.hpp"

#include <catch2/catch.hpp>

namespace cachectl {

TEST_CASE("key: 1 to 4096 bytes of any kind are a key") {
  CHECK(Key::from("a").has_value());
  CHECK(Key::from(std::string(4096, 'k')).has_value());
  CHECK(Key::from(std::string("\0\n\xff../", 6)).has_value());
}

TEST_CASE("key: none and 4097 bytes are usage errors that say how long a key is") {
  for (const auto& bytes : {std::string(), std::string(4097, 'k')}) {
    const auto key = Key::from(bytes);
    REQUIRE_FALSE(key);
    CHECK(key.error().code == Errc::usage);
    CHECK_THAT(key.error().describe(), Catch::Contains("1 to 4096 bytes"));
  }
}

TEST_CASE("key: the hash is XXH3-128 and stays what it was") {
  // Computed by xxhsum -H128 of the xxHash project.
  CHECK(Key::from("user:123")->hash().hex() == "4d7c643ce553682bc1ba8e1c07bfca03");
  CHECK(Key::from("a")->hash().hex() == "a96faf705af16834e6c632b61e964e1f");
}

TEST_CASE("key: keys that differ in one byte, also after a NUL, have different hashes") {
  CHECK_FALSE(Key::from(std::string("a\0b", 3))->hash() ==
              Key::from(std::string("a\0c", 3))->hash());
  CHECK_FALSE(Key::from("a")->hash() == Key::from(std::string("a\0", 2))->hash());
}

TEST_CASE("key: a hash survives its own notation, and nothing else is one") {
  const auto hash = Key::from("user:123")->hash();
  KeyHash parsed;
  REQUIRE(KeyHash::parse(hash.hex(), parsed));
  CHECK(parsed == hash);
  const auto hex = hash.hex();
  CHECK_FALSE(KeyHash::parse(hex.substr(1), parsed));
  CHECK_FALSE(KeyHash::parse(hex + "0", parsed));
  CHECK_FALSE(KeyHash::parse("+" + hex.substr(1), parsed));
  CHECK_FALSE(KeyHash::parse("0x" + hex.substr(2), parsed));
  CHECK_FALSE(KeyHash::parse(std::string(32, 'A'), parsed));
  CHECK_FALSE(KeyHash::parse(std::string(32, ' '), parsed));
}

TEST_CASE("escaped: what a terminal would obey is shown instead") {
  CHECK(escaped("user:123") == "user:123");
  CHECK(escaped("a\nb\tc\\d") == "a\\nb\\tc\\\\d");
  CHECK(escaped(std::string("\0\x1b[31m\x7f", 7)) == "\\x00\\x1b[31m\\x7f");
  CHECK(escaped("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(escaped("\xc2\x9b") == "\\xc2\\x9b");
  for (const std::string character : {"\xe2\x80\x8e", "\xe2\x80\xae", "\xe2\x81\xa6"}) {
    CHECK(escaped(character).starts_with("\\xe2\\x8"));  // turns the text behind it round
  }
  CHECK(escaped("\xe2\x80\xa6") == "\xe2\x80\xa6");
  CHECK(escaped("\xff"
                "a") == "\\xffa");
}

TEST_CASE("unescaped: what was escaped is read again, and nothing else") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& bytes :
       {std::string(), std::string("plain"), all, "\xe2\x80\xae" + all}) {
    CHECK(unescaped(escaped(bytes)) == bytes);
  }
  for (const char* text : {"\\", "a\\", "\\x", "\\x1", "\\xg0", "\\x-1", "\\q", "\\N"}) {
    CHECK_FALSE(unescaped(text));
  }
}

TEST_CASE("is_utf8: overlong forms, surrogates, cut sequences and huge values are not") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("\xe2\x82\xac \xf0\x9f\x92\xbe"));
  CHECK_FALSE(is_utf8("\xc0\xaf"));
  CHECK_FALSE(is_utf8("\xe0\x80\xaf"));
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));
  CHECK_FALSE(is_utf8("\xe2\x82"));
  CHECK_FALSE(is_utf8("\xf4\x90\x80\x80"));
  CHECK_FALSE(is_utf8("\x80"));
}

}  // namespace cachectl
