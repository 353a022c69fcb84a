#include "src/telemetry/prometheus.hpp"

#include <fmt/format.h>

#include <functional>

#include "src/key.hpp"

namespace cachectl::telemetry {

namespace {

using std::chrono::nanoseconds;

/// A label of a key: printable as everywhere, and then as the format wants it.
std::string label(std::string_view bytes) {
  std::string text;
  for (const char each : escaped(bytes)) {
    if (each == '"' || each == '\\') text += '\\';
    text += each;
  }
  return text;
}

std::string seconds(std::uint64_t nanos) {
  return fmt::format("{}", static_cast<double>(nanos) / 1e9);
}

std::string_view unit_name(Unit unit) {
  switch (unit) {
    case Unit::none:
      return "";
    case Unit::bytes:
      return "_bytes";
    case Unit::seconds:
      return "_seconds";
  }
  return "";
}

class Text {
 public:
  explicit Text(const Report& report) : report_(report) {}

  std::string write() {
    family("cachectl_counters_start_time_seconds", "gauge",
           "When counting began or was reset, since 1970");
    const auto since = report_.since.time_since_epoch().count();
    text_ += fmt::format("cachectl_counters_start_time_seconds {:.3f}\n",
                         static_cast<double>(since) / 1e9);
    for (std::size_t at = 0; at < kCounters.size();) at = counters(at);
    for (const auto& info : kTimings) histogram(info);
    return std::move(text_);
  }

 private:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP {} {}.\n# TYPE {} {}\n", name, help, name, type);
  }

  void each_row(const std::function<void(const Row&, const std::string& entry)>& visit) const {
    visit(report_.others, "entry=\"\"");
    for (const auto& row : report_.entries) visit(row, "entry=\"" + label(row.name) + '"');
  }

  /// The family that starts at a place in the table; returns where the next one does.
  std::size_t counters(std::size_t first) {
    const auto& info = kCounters[first];
    std::size_t end = first;
    while (end < kCounters.size() && kCounters[end].family == info.family) ++end;
    const auto name = fmt::format("cachectl_{}{}_total", info.family, unit_name(info.unit));
    family(name, "counter", info.help);
    each_row([&](const Row& row, const std::string& entry) {
      for (auto at = first; at < end; ++at) {
        const auto& member = kCounters[at];
        text_ += name;
        text_ += '{';
        text_ += entry;
        if (!member.label.empty()) text_ += fmt::format(",{}=\"{}\"", member.label, member.value);
        const auto value = row.of(member.counter);
        text_ +=
            "} " + (member.unit == Unit::seconds ? seconds(value) : std::to_string(value)) + '\n';
      }
    });
    return end;
  }

  void histogram(const TimingInfo& info) {
    const auto name = fmt::format("cachectl_{}_seconds", info.name);
    family(name, "histogram", info.help);
    each_row([&](const Row& row, const std::string& entry) {
      const auto& counted = row.of(info.timing);
      std::uint64_t below = 0;
      for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        below += counted.buckets[bucket];
        // The ends of the powers of two are ends of buckets: 2^14 ns, 2^16 ns, ... 2^46 ns.
        const bool is_end = bucket % (1U << kPartBits) == 0;
        const auto power = kFirstPower + (bucket >> kPartBits);
        if (!is_end || power < 14 || power % 2 != 0 || bucket + 1 == kBuckets) continue;
        const auto end = static_cast<std::uint64_t>(end_of_bucket(bucket).count());
        text_ += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, entry, seconds(end), below);
      }
      text_ += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, entry, below);
      text_ += fmt::format("{}_sum{{{}}} {}\n", name, entry, seconds(counted.sum));
      text_ += fmt::format("{}_count{{{}}} {}\n", name, entry, below);
    });
  }

  const Report& report_;
  std::string text_;
};

}  // namespace

std::string prometheus_text(const Report& report) { return Text(report).write(); }

}  // namespace cachectl::telemetry
