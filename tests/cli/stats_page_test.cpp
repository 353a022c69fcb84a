// stats --html: the page that an event log becomes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// The page of the sandbox's log.
std::string page_of(const Sandbox& sandbox) {
  const auto outcome = sandbox.run({"stats", "--html", sandbox.file("page.html")});
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  return content_of(sandbox.file("page.html"));
}

void log_to_file(const Sandbox& sandbox) {
  configure(sandbox, "[events]\nfile = \"" + sandbox.file("events") + "\"\n");
}

}  // namespace

TEST_CASE("stats: a page with charts, made from the event log") {
  const Sandbox sandbox;
  log_to_file(sandbox);
  REQUIRE(sandbox.run({"run", "--key", "k", "--", "echo", "1"}).status == 0);
  REQUIRE(sandbox.run({"run", "--key", "<b>&\"", "--", "sh", "-c", "exit 3"}).status == 3);
  REQUIRE(sandbox.run({"gc"}).status == 0);
  for (int time = 0; time < 3; ++time) REQUIRE(sandbox.run({"get", "k"}).status == 0);
  REQUIRE(sandbox.run({"get", "none"}).status == 1);
  REQUIRE(sandbox.run({"gc"}).status == 0);
  const auto page = page_of(sandbox);
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.ends_with("</html>\n"));
  CHECK(count_of(page, "<svg") == 3);
  CHECK(page.find("75.0 % of 4</title>") != std::string::npos);
  CHECK(page.find("<tr><td>k</td><td>1</td><td>0</td>") != std::string::npos);
  // A key is text on the page, whatever it is.
  CHECK(page.find("<tr><td>&lt;b&gt;&amp;&quot;</td><td>0</td><td>1</td>") != std::string::npos);
  CHECK(page.find("<b>") == std::string::npos);
  CHECK(page.find("<script") == std::string::npos);
}

TEST_CASE("stats: the page of a log with lines that are no events, and of none") {
  const Sandbox sandbox;
  log_to_file(sandbox);
  CHECK(page_of(sandbox).find("No events yet") != std::string::npos);
  write_file(sandbox.file("events.1"),
             "{\"time\":\"2026-11-22T10:00:00.5Z\",\"event\":\"lock_acquired\",\"duration\":1.5}\n"
             "{\"time\":\"2026-11-22T10:00:01.5Z\",\"event\":\"lock_timed_out\"}\nhalf a li");
  write_file(sandbox.file("events"),
             "[]\n{\"time\":7}\n{\"time\":\"2026-11-22T12:00:00Z\",\"event\":\"source_ended\","
             "\"duration\":2,\"key\":\"k\"}\n{\"time\":\"2026-11-22T12:00:00Z\",\"event\":"
             "\"failed_status\",\"duration\":2,\"key\":\"k\"}\n");
  const auto page = page_of(sandbox);
  CHECK(page.find("3 lines could not be read") != std::string::npos);
  CHECK(page.find("1 locks, the longest wait 1.5 s, 1 given up") != std::string::npos);
  CHECK(page.find("2026-11-22 12:00:00: 0 refreshed, 1 failed") != std::string::npos);
}

TEST_CASE("stats: a page is printed on request, and never written over its log") {
  const Sandbox sandbox;
  log_to_file(sandbox);
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto printed = sandbox.run({"stats", "--html", "-"});
  CHECK(printed.status == 0);
  CHECK(printed.output.starts_with("<!DOCTYPE html>"));
  const auto log = content_of(sandbox.file("events"));
  std::filesystem::create_symlink(sandbox.file("events"), sandbox.file("other-name"));
  for (const auto* name : {"events", "other-name"}) {
    const auto refused = sandbox.run({"stats", "--html", sandbox.file(name)});
    CHECK(refused.status == 2);
    CHECK(is_one_message(refused.errors));
    CHECK(content_of(sandbox.file("events")) == log);
  }
  // A shorter one leaves nothing of what was there.
  write_file(sandbox.file("page.html"), std::string(1'000'000, 'x'));
  CHECK(page_of(sandbox).ends_with("</html>\n"));
}

TEST_CASE("stats: no page without a log") {
  const Sandbox sandbox;
  const auto outcome = sandbox.run({"stats", "--html", sandbox.file("page.html")});
  CHECK(outcome.status == 2);
  CHECK(outcome.errors.find("events.file") != std::string::npos);
}

}  // namespace cachectl::test
