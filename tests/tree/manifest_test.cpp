#include "src/tree/manifest.hpp"

#include <catch2/catch.hpp>
#include <chrono>

#include "src/tree/lines.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

using test::expect;

Item directory(std::string path) { return {std::move(path), Type::directory, 0755, {}, 0, {}, {}}; }
Item file(std::string path, std::uint64_t size = 3) {
  return {std::move(path), Type::file, 0644, {1'700'000'000, 5}, size, 0x123456789abcdef0U, {}};
}
Item link(std::string path, std::string target) {
  return {std::move(path), Type::symlink, 0777, {-1, 999'999'999}, 0, {}, std::move(target)};
}
Item same(std::string path, const Item& first) {
  return {std::move(path), Type::hard_link, first.mode, first.modified, first.size, {}, first.path};
}

Manifest sample() {
  const auto first = file("a\nb", 1234);
  auto unread = file("d/\xff");
  unread.checksum.reset();
  return {{directory(""), directory("-"), first, directory("d"), directory("d/..."),
           link("d/dot", "."), same("d/h", first), unread, file("d-"), link("z", "a b\t\\")}};
}

std::string fault(const Manifest& manifest) {
  const auto checked = check(manifest, "it");
  return checked ? "sound" : checked.error().code == Errc::corrupt ? "corrupt" : "odd";
}

}  // namespace

TEST_CASE("manifest: what is encoded is decoded again, whatever bytes names have") {
  const auto manifest = sample();
  const auto text = encode(manifest);
  INFO(text);
  CHECK(expect(decode_manifest(text, "it")) == manifest);
  CHECK(manifest.bytes() == 1240);
  CHECK(manifest.files() == 3);
  const Manifest one{{file("", 7)}};
  CHECK(expect(decode_manifest(encode(one), "it")) == one);
}

TEST_CASE("manifest: the text is one line an item, as documented") {
  const Manifest manifest{{directory(""), file("a b"), link("l\n", "x")}};
  const auto text = encode(manifest);
  CHECK_THAT(text, Catch::StartsWith("cachectl-manifest 1 items 3 bytes 3\n"
                                     "d\t0755\t0.000000000\t-\t-\t.\n"
                                     "f\t0644\t1700000000.000000005\t3\t123456789abcdef0\ta b\n"
                                     "l\t0777\t-1.999999999\t-\t-\tl\\n\tx\n"
                                     "end "));
}

TEST_CASE("manifest: cut off at any byte it is corrupt") {
  const auto text = encode(sample());
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto decoded = decode_manifest(text.substr(0, length), "it");
    INFO(length);
    REQUIRE_FALSE(decoded);
    REQUIRE(decoded.error().code == Errc::corrupt);
  }
}

TEST_CASE("manifest: with any byte changed, lost or added it is corrupt") {
  const auto text = encode(sample());
  for (std::size_t at = 0; at < text.size(); ++at) {
    INFO(at);
    for (const unsigned flip : {1U, 0x20U, 0x80U, 0xFFU}) {
      auto damaged = text;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
      const auto decoded = decode_manifest(damaged, "it");
      REQUIRE_FALSE(decoded);
      REQUIRE(decoded.error().code == Errc::corrupt);
    }
    auto damaged = text;
    REQUIRE_FALSE(decode_manifest(damaged.erase(at, 1), "it"));
    damaged = text;
    REQUIRE_FALSE(decode_manifest(damaged.insert(at, 1, '0'), "it"));
  }
  CHECK_FALSE(decode_manifest(text + "\n", "it"));
  CHECK_FALSE(decode_manifest(text + text, "it"));
}

TEST_CASE("manifest: a later version is told from damage") {
  LineWriter writer("cachectl-manifest", 0, 0);
  auto text = std::move(writer).finish();
  text.replace(text.find(" 1 "), 3, " 2 ");
  CHECK(decode_manifest(text, "it").error().code == Errc::corrupt);
  // As the later version would have written it.
  const std::string body = "cachectl-manifest 2 items in a new way\nx\n";
  const auto end = end_line_of(body);
  const auto decoded = decode_manifest(body + end, "it");
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == Errc::format);
}

TEST_CASE("manifest: with a right checksum but wrong content it is corrupt") {
  const std::string front = "d\t0755\t0.000000000\t-\t-\t.\n";
  const auto decoded = [](const std::string& head, const std::string& lines) {
    const auto body = "cachectl-manifest 1 " + head + "\n" + lines;
    const auto result = decode_manifest(body + end_line_of(body), "it");
    return result ? "sound" : result.error().code == Errc::corrupt ? "corrupt" : "odd";
  };
  REQUIRE(std::string(decoded("items 1 bytes 0", front)) == "sound");
  for (const auto* head : {"items 2 bytes 0", "items 1 bytes 1", "items 1", "items -1 bytes 0",
                           "items 99999999999999999999 bytes 0", "items 1 bytes 0 more"}) {
    CHECK(std::string(decoded(head, front)) == "corrupt");
  }
  for (const auto* line :
       {"d\t0755\t0.000000000\t-\t-\n", "d\t0755\t0.000000000\t-\t-\t.\tx\ty\n", "\n",
        "x\t0755\t0.000000000\t-\t-\t.\n", "d\t0855\t0.000000000\t-\t-\t.\n",
        "d\t10755\t0.000000000\t-\t-\t.\n", "d\t0755\t0.00000000\t-\t-\t.\n",
        "d\t0755\t0.-00000001\t-\t-\t.\n", "d\t0755\t.000000000\t-\t-\t.\n",
        "d\t0755\t0.000000000\t-\t-\t\\\n", "d\t0755\t0.000000000\t-\t-\t\\x\n",
        "d\t0755\t0.000000000\t-\t-\t.\ttarget\n", "d\t0755\t0.000000000\t-\t-\t."}) {
    INFO(line);
    CHECK(std::string(decoded("items 1 bytes 0", line)) == "corrupt");
  }
}

TEST_CASE("manifest: one that leads out of its tree is corrupt") {
  REQUIRE(fault(sample()) == "sound");
  CHECK(fault({}) == "corrupt");
  CHECK(fault({{file("x")}}) == "corrupt");
  CHECK(fault({{link("", "x")}}) == "corrupt");
  CHECK(fault({{file(""), file("x")}}) == "corrupt");
  for (const auto* path : {"..", ".", "../x", "/etc", "a//b", "a/", "d/..", "d/../x", "none/x"}) {
    INFO(path);
    CHECK(fault({{directory(""), directory("d"), file(path)}}) == "corrupt");
  }
  CHECK(fault({{directory(""), file(std::string("a\0b", 3))}}) == "corrupt");
  CHECK(fault({{directory(""), link("d", "/etc"), file("d/passwd")}}) == "corrupt");
  CHECK(fault({{directory(""), file("b"), file("a")}}) == "corrupt");
  CHECK(fault({{directory(""), file("a"), file("a")}}) == "corrupt");
  CHECK(fault({{directory(""), directory("d"), file("d-"), file("d/x")}}) == "corrupt");
  CHECK(fault({{directory(""), directory("a"), same("h", directory("a"))}}) == "corrupt");
  CHECK(fault({{directory(""), same("a", file("b")), file("b")}}) == "corrupt");
  CHECK(fault({{directory(""), same("a", file("/etc/passwd"))}}) == "corrupt");
  auto another = same("b", file("a"));
  another.mode = 0600;
  CHECK(fault({{directory(""), file("a"), another}}) == "corrupt");
}

TEST_CASE("manifest: more levels than allowed are corrupt, and as many as allowed are not") {
  Manifest deep{{directory("")}};
  std::string path;
  for (std::size_t level = 1; level < kDeepest; ++level) {
    path += level == 1 ? "d" : "/d";
    deep.items.push_back(directory(path));
  }
  CHECK(fault(deep) == "sound");
  deep.items.push_back(directory(path + "/d"));
  CHECK(fault(deep) == "corrupt");
}

TEST_CASE("manifest: a hundred thousand items take a moment") {
  Manifest manifest{{directory("")}};
  for (int d = 0; d < 1000; ++d) {
    const auto name = "directory-" + std::to_string(1000 + d);
    manifest.items.push_back(directory(name));
    for (int f = 0; f < 99; ++f) {
      manifest.items.push_back(file(name + "/file-" + std::to_string(100 + f) + ".txt"));
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const auto text = encode(manifest);
  const auto decoded = decode_manifest(text, "it");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(expect(decoded) == manifest);
  // 0.1 s optimized; far less than this with sanitizers too. Quadratic would be minutes.
  CHECK(took.count() < 20);
  UNSCOPED_INFO(took.count());
}

}  // namespace cachectl::tree
