#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "src/tree/scan.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::expect;
using test::make_sample;
using test::set_time;
using test::TreePlace;
using test::write_file;

struct Sample {
  Sample() {
    make_sample(place.file("tree"));
    scanned = expect(scan(place.directory(), "tree"));
  }

  [[nodiscard]] std::string path(std::string_view name) const {
    return place.file("tree/" + std::string(name));
  }
  /// "content of bin/tool, mode of link"; of directories no times.
  [[nodiscard]] std::string deviations(Checksums checksums = Checksums::yes) const {
    std::string text;
    for (const auto& each :
         expect(verify(place.directory(), "tree", scanned.manifest, {checksums, 2}))) {
      const auto* item = scanned.manifest.find(each.path);
      if (item != nullptr && item->type == Type::directory &&
          each.difference == Difference::modified) {
        continue;
      }
      text += std::string(name_of(each.difference)) + " " + each.path + ", ";
    }
    return text;
  }
  [[nodiscard]] std::string changes() const {
    std::string text;
    for (const auto& each : expect(changed_since(place.directory(), "tree", scanned.snapshot))) {
      constexpr std::string_view kSigns = "-+*";
      text += std::string(1, kSigns[static_cast<std::size_t>(each.change)]) + each.path + " ";
    }
    return text;
  }

  TreePlace place;
  Scan scanned;
};

}  // namespace

TEST_CASE("verify: a tree that was left alone deviates in nothing and has no changes") {
  const Sample sample;
  CHECK(sample.deviations().empty());
  CHECK(sample.changes().empty());
}

TEST_CASE("verify: each kind of change is found and named") {
  const Sample sample;
  SECTION("content of the same size and time") {
    write_file(sample.path("bin-ary"), "sorts between bin and bin/tool, but for the SLASH");
    const auto* item = sample.scanned.manifest.find("bin-ary");
    set_time(sample.path("bin-ary"), item->modified.seconds, item->modified.nanoseconds);
    CHECK(sample.deviations() == "content bin-ary, ");
    CHECK(sample.deviations(Checksums::no).empty());
    CHECK(sample.changes() == "*bin-ary ");
  }
  SECTION("size") {
    write_file(sample.path("bin-ary"), "short");
    CHECK(sample.deviations(Checksums::no) == "content bin-ary, modified bin-ary, ");
    CHECK(sample.changes() == "*bin-ary ");
  }
  SECTION("mode") {
    REQUIRE(::chmod(sample.path("-rf").c_str(), 0711) == 0);
    CHECK(sample.deviations() == "mode -rf, ");
    CHECK(sample.changes() == "*-rf ");
  }
  SECTION("time of a link") {
    set_time(sample.path("link"), 5);
    CHECK(sample.deviations() == "modified link, ");
    CHECK(sample.changes() == "*link ");
  }
  SECTION("target of a link") {
    REQUIRE(::unlink(sample.path("link").c_str()) == 0);
    fs::create_symlink("bin/look", sample.path("link"));
    set_time(sample.path("link"), 999'999'999, 1);
    CHECK(sample.deviations() == "target link, ");
    CHECK(sample.changes() == "* *link ");
  }
  SECTION("type") {
    REQUIRE(::unlink(sample.path("link").c_str()) == 0);
    fs::create_directory(sample.path("link"));
    write_file(sample.path("link/new"), "");
    CHECK(sample.deviations() == "type link, extra link/new, ");
    CHECK(sample.changes() == "* *link +link/new ");
  }
  SECTION("missing") {
    fs::remove_all(sample.path("bin/deep"));
    CHECK(sample.deviations() ==
          "missing bin/deep, missing bin/deep/deeper, missing bin/deep/deeper/file, ");
    CHECK(sample.changes() == "*bin -bin/deep -bin/deep/deeper -bin/deep/deeper/file ");
  }
  SECTION("a file that is the same no longer") {
    REQUIRE(::unlink(sample.path("same").c_str()) == 0);
    write_file(sample.path("same"), "#!/bin/sh\necho tool\n");
    REQUIRE(::chmod(sample.path("same").c_str(), 0755) == 0);
    set_time(sample.path("same"), 1'000'000'000, 123'456'789);
    CHECK(sample.deviations() == "links same, ");
    CHECK(sample.changes() == "* *bin/tool *empty.also *same ");
  }
  SECTION("two directories that change places") {
    fs::rename(sample.path("bin/deep"), sample.path("bin/x"));
    fs::create_directories(sample.path("bin/deep/deeper"));
    CHECK_THAT(sample.changes(), Catch::Contains("*bin/deep *bin/deep/deeper") &&
                                     Catch::Contains("-bin/deep/deeper/file") &&
                                     Catch::Contains("+bin/x/deeper/file"));
  }
  SECTION("all of it") {
    fs::remove_all(sample.place.file("tree"));
    CHECK(sample.deviations() == "missing , ");
    CHECK_THAT(sample.changes(), Catch::StartsWith("- --rf "));
  }
  SECTION("something special") {
    REQUIRE(::mkfifo(sample.path("fifo").c_str(), 0600) == 0);
    CHECK(sample.changes() == "* +fifo ");
    CHECK(verify(sample.place.directory(), "tree", sample.scanned.manifest).error().code ==
          Errc::refused);
  }
}

TEST_CASE("snapshot: a change right after it was taken is seen") {
  const TreePlace place;
  fs::create_directory(place.file("tree"));
  for (int i = 0; i < 100; ++i) {
    write_file(place.file("tree/file"), "before");
    const auto snapshot = expect(take_snapshot(place.directory(), "tree"));
    const auto modified = snapshot.stamps.back().modified;
    const lock::Fd file(::open(place.file("tree/file").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::pwrite(file.get(), "after.", 6, 0) == 6);
    set_time(place.file("tree/file"), modified.seconds, modified.nanoseconds);
    REQUIRE(expect(changed_since(place.directory(), "tree", snapshot)) ==
            std::vector<Changed>{{"file", Change::changed}});
  }
}

TEST_CASE("snapshot: as text it survives, and any damage is found") {
  const Sample sample;
  const auto text = encode(sample.scanned.snapshot);
  INFO(text);
  CHECK(expect(decode_snapshot(text, "it")) == sample.scanned.snapshot);
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    REQUIRE(decode_snapshot(damaged, "it").error().code == Errc::corrupt);
    REQUIRE(decode_snapshot(text.substr(0, at), "it").error().code == Errc::corrupt);
  }
  CHECK(decode_snapshot(encode(sample.scanned.manifest), "it").error().code == Errc::corrupt);
}

}  // namespace cachectl::tree
