#include "tests/tree/fixture.hpp"

#include <fcntl.h>
#include <grp.h>
#include <unistd.h>

#include <sstream>

#include "tests/support/forked.hpp"

namespace cachectl::test {

namespace fs = std::filesystem;

void set_time(const std::string& path, std::int64_t whole, std::int64_t rest) {
  const timespec times[2] = {{0, UTIME_OMIT}, {whole, rest}};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    throw std::runtime_error("utimensat " + path);
  }
}

void make_sample(const std::string& path) {
  fs::create_directories(path + "/bin/deep/deeper");
  fs::create_directories(path + "/empty");
  fs::create_directories(path + "/closed");
  write_file(path + "/bin/tool", "#!/bin/sh\necho tool\n");
  write_file(path + "/bin/deep/deeper/file", std::string(300'000, 'd'));
  write_file(path + "/nothing", "");
  write_file(path + "/closed/inside", "inside");
  write_file(path + "/bin-ary", "sorts between bin and bin/tool, but for the slash");
  write_file(path + "/line\nbreak\tand\\more", "odd");
  write_file(path + "/\xff\xfe not UTF-8", "odder");
  write_file(path + "/-rf", "oddest");
  fs::create_symlink("bin/tool", path + "/link");
  fs::create_symlink("/nowhere/at\nall", path + "/dangling");
  fs::create_symlink(".", path + "/self");
  fs::create_hard_link(path + "/bin/tool", path + "/same");
  fs::create_hard_link(path + "/bin/tool", path + "/empty.also");
  {
    const lock::Fd holey(::open((path + "/holey").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0640));
    constexpr off_t kHole = 8 * 1024 * 1024;
    expect(lock::write_all_at(holey.get(), lock::bytes_of("front"), 0, "holey"));
    expect(lock::write_all_at(holey.get(), lock::bytes_of("middle"), kHole, "holey"));
    if (::ftruncate(holey.get(), 2 * kHole) != 0) throw std::runtime_error("ftruncate");
  }
  ::chmod((path + "/bin/tool").c_str(), 0755);
  ::chmod((path + "/nothing").c_str(), 0);
  ::chmod((path + "/-rf").c_str(), 06711);
  ::chmod((path + "/empty").c_str(), 03770);
  set_time(path + "/bin/tool", 1'000'000'000, 123'456'789);
  set_time(path + "/link", 999'999'999, 1);
  set_time(path + "/-rf", -5, 999'999'999);
  set_time(path + "/bin/deep", 1'500'000'000, 5);
  set_time(path + "/bin", 1'400'000'000);
  set_time(path + "/closed", 1'300'000'000);
  ::chmod((path + "/closed").c_str(), 0555);
  set_time(path, 1'200'000'000, 7);
}

std::string difference(const tree::Manifest& one, const tree::Manifest& other) {
  if (one == other) return {};
  std::istringstream left(tree::encode(one));
  std::istringstream right(tree::encode(other));
  std::string text;
  std::string l;
  std::string r;
  for (int lines = 0; lines < 8;) {
    const bool has_left = static_cast<bool>(std::getline(left, l));
    const bool has_right = static_cast<bool>(std::getline(right, r));
    if (!has_left && !has_right) break;
    if (l == r) continue;
    text += "< " + l + "\n> " + r + "\n";
    ++lines;
  }
  return text;
}

std::string TreePlace::difference(const std::string& one, const std::string& other) const {
  return test::difference(manifest(one), manifest(other));
}

std::string as_nobody(const std::function<std::string()>& body) {
  constexpr uid_t kNobody = 65534;
  Forked child([&](const Link& line) {
    // Root lays down its rights; anybody else has none to lay down.
    if (::geteuid() == 0 &&
        (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) {
      line.say("(still root)");
      return 1;
    }
    line.say(body());
    return 0;
  });
  auto answer = child.hear();
  child.wait();
  return answer;
}

}  // namespace cachectl::test
