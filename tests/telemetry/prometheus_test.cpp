#include "src/telemetry/prometheus.hpp"

#include <catch2/catch.hpp>
#include <charconv>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "src/key.hpp"

namespace cachectl::telemetry {

namespace {

using Labels = std::map<std::string, std::string>;

/// What a text says, read by the rules of the exposition format 0.0.4. Throws where it
/// breaks one.
class Exposition {
 public:
  struct Sample {
    std::string name;
    Labels labels;
    double value;
  };

  explicit Exposition(const std::string& text) {
    if (text.empty() || text.back() != '\n') throw std::runtime_error("no newline at the end");
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      line_ = line;
      read(line);
    }
  }

  std::map<std::string, std::string> types;
  std::vector<Sample> samples;

  [[nodiscard]] double value(const std::string& name, const Labels& labels) const {
    for (const auto& sample : samples) {
      if (sample.name == name && sample.labels == labels) return sample.value;
    }
    throw std::runtime_error("no sample " + name);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw std::runtime_error(why + ": " + line_);
  }

  static bool is_name(const std::string& text) {
    if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
    return text.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:") ==
           std::string::npos;
  }

  void read(const std::string& line) {
    if (line.starts_with("# ")) return read_comment(line.substr(2));
    read_sample(line);
  }

  void read_comment(const std::string& text) {
    std::istringstream words(text);
    std::string kind;
    std::string name;
    words >> kind >> name;
    std::string rest;
    std::getline(words >> std::ws, rest);
    if (!is_name(name)) refuse("no name");
    if (kind == "HELP") {
      if (rest.empty() || !helps_.insert(name).second) refuse("HELP is empty, or there twice");
    } else if (kind == "TYPE") {
      if (rest != "counter" && rest != "gauge" && rest != "histogram") refuse("no type");
      if (!types.emplace(name, rest).second) refuse("TYPE is there twice");
      if (!helps_.contains(name)) refuse("TYPE before HELP");
      if (rest == "counter" && !name.ends_with("_total")) refuse("a counter without _total");
      current_ = name;
    } else {
      refuse("neither HELP nor TYPE");
    }
  }

  void read_sample(const std::string& line) {
    Sample sample;
    std::size_t at = line.find_first_of("{ ");
    if (at == std::string::npos) refuse("no value");
    sample.name = line.substr(0, at);
    if (!is_name(sample.name)) refuse("no name");
    if (line[at] == '{') at = read_labels(line, at + 1, sample.labels);
    if (line[at] != ' ') refuse("no blank before the value");
    const auto text = line.substr(at + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sample.value);
    if (error != std::errc() || end != text.data() + text.size()) refuse("no number");
    const bool belongs = types.at(current_) == "histogram" ? sample.name == current_ + "_bucket" ||
                                                                 sample.name == current_ + "_sum" ||
                                                                 sample.name == current_ + "_count"
                                                           : sample.name == current_;
    if (!belongs) refuse("outside of its family");
    if (!seen_.insert({sample.name, sample.labels}).second) refuse("there twice");
    samples.push_back(std::move(sample));
  }

  std::size_t read_labels(const std::string& line, std::size_t at, Labels& labels) const {
    while (line.at(at) != '}') {
      const auto equals = line.find('=', at);
      if (equals == std::string::npos) refuse("no label");
      const auto name = line.substr(at, equals - at);
      if (!is_name(name) || name.find(':') != std::string::npos) refuse("no name of a label");
      at = equals + 1;
      if (line.at(at++) != '"') refuse("no quote");
      std::string value;
      while (line.at(at) != '"') {
        if (line[at] == '\\') {
          const char escape = line.at(++at);
          if (escape != '\\' && escape != '"' && escape != 'n') refuse("no such escape");
          value += escape == 'n' ? '\n' : escape;
        } else {
          if (static_cast<unsigned char>(line[at]) < 0x20) refuse("a control character");
          value += line[at];
        }
        ++at;
      }
      if (!labels.emplace(name, value).second) refuse("a label twice");
      ++at;
      if (line.at(at) == ',') ++at;
    }
    return at + 1;
  }

  std::string line_;
  std::string current_;
  std::set<std::string> helps_;
  std::set<std::pair<std::string, Labels>> seen_;
};

Report report_of(const std::string& name) {
  Report report;
  report.since = WallTime(std::chrono::seconds(1'700'000'000));
  report.others.counters[index_of(Counter::hits)] = 3;
  Row row;
  row.name = name;
  std::uint64_t number = 1;
  for (auto& counter : row.counters) counter = number++;
  for (auto& timing : row.timings) {
    for (const auto micros : {1, 20, 20, 3'000, 5'000'000}) {
      const auto duration = std::chrono::microseconds(micros);
      ++timing.buckets[bucket_of(duration)];
      timing.sum += static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count());
    }
    ++timing.buckets.back();
  }
  report.entries.push_back(std::move(row));
  return report;
}

}  // namespace

TEST_CASE("prometheus: the text keeps the rules of the format, and has every counter") {
  const Exposition text(prometheus_text(report_of("prices")));
  for (const auto& info : kCounters) {
    const auto unit = info.unit == Unit::bytes     ? "_bytes"
                      : info.unit == Unit::seconds ? "_seconds"
                                                   : "";
    const auto name = "cachectl_" + std::string(info.family) + unit + "_total";
    CHECK(text.types.at(name) == "counter");
    Labels labels{{"entry", "prices"}};
    if (!info.label.empty()) labels[std::string(info.label)] = std::string(info.value);
    const auto number = static_cast<double>(index_of(info.counter) + 1);
    CHECK(text.value(name, labels) == Approx(info.unit == Unit::seconds ? number / 1e9 : number));
  }
  CHECK(text.value("cachectl_requests_total", {{"entry", ""}, {"result", "hit"}}) == 3);
  CHECK(text.value("cachectl_counters_start_time_seconds", {}) == 1'700'000'000);
}

TEST_CASE("prometheus: histograms are cumulative and end with all") {
  const Exposition text(prometheus_text(report_of("prices")));
  for (const auto& info : kTimings) {
    const auto name = "cachectl_" + std::string(info.name) + "_seconds";
    CHECK(text.types.at(name) == "histogram");
    double bound = 0;
    double below = 0;
    std::string last;
    std::size_t buckets = 0;
    for (const auto& sample : text.samples) {
      if (sample.name != name + "_bucket" || sample.labels.at("entry") != "prices") continue;
      last = sample.labels.at("le");
      const double end = last == "+Inf" ? 1e99 : std::stod(last);
      CHECK(end > bound);
      CHECK(sample.value >= below);
      // 1, 20, 20, 3,000 and 5,000,000 us, and one that is longer than all bounds.
      const double expected = end > 1e9 ? 6 : end > 5 ? 5 : end > 3e-3 ? 4 : end > 2.05e-5 ? 3 : 1;
      CHECK(sample.value == expected);
      bound = end;
      below = sample.value;
      ++buckets;
    }
    CHECK(last == "+Inf");
    CHECK(buckets == 18);
    CHECK(text.value(name + "_count", {{"entry", "prices"}}) == 6);
    CHECK(text.value(name + "_sum", {{"entry", "prices"}}) == Approx(5.003041));
    CHECK(text.value(name + "_count", {{"entry", ""}}) == 0);
  }
}

TEST_CASE("prometheus: no name of an entry breaks a line or a terminal") {
  for (const std::string name : {"a\"b", "back\\slash", "new\nline", "\x1b[31mred\x1b[0m",
                                 "bad\xff utf", "tab\t", "größe", "user:*", "a}b", "a,b=\"c\""}) {
    const auto written = prometheus_text(report_of(name));
    const Exposition text(written);
    CHECK(text.value("cachectl_shared_total", {{"entry", escaped(name)}}) ==
          static_cast<double>(index_of(Counter::shared) + 1));
    CHECK(is_utf8(written));
    CHECK(written.find('\x1b') == std::string::npos);
  }
}

}  // namespace cachectl::telemetry
