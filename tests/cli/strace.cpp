#include "tests/cli/strace.hpp"

#include <catch2/catch.hpp>
#include <map>

namespace cachectl::test {

namespace {

std::string trace_file(const Sandbox& sandbox) { return sandbox.file("trace"); }

Program with_strace(const Sandbox& sandbox, const Program& program,
                    const std::vector<std::string>& options) {
  auto traced = program;
  traced.argv = {"strace", "-o", trace_file(sandbox)};
  traced.argv.insert(traced.argv.end(), options.begin(), options.end());
  traced.argv.insert(traced.argv.end(), program.argv.begin(), program.argv.end());
  return traced;
}

}  // namespace

bool can_trace(const Sandbox& sandbox) {
  if (is_sanitized()) {
    WARN("SKIPPED: strace and the leak checker exclude each other");
    return false;
  }
  if (run(with_strace(sandbox, sandbox.program({"true"}), {})).status == 0) return true;
  WARN("SKIPPED: strace is missing, or tracing is not allowed");
  return false;
}

std::vector<Call> calls_of(const Sandbox& sandbox, const Program& program) {
  const auto outcome = run(with_strace(sandbox, program, {}));
  REQUIRE(outcome.status == 0);
  std::map<std::string, int> count;
  std::vector<Call> calls;
  bool in_main = false;
  for (const auto& line : lines_of(content_of(trace_file(sandbox)))) {
    const auto end = line.find('(');
    if (end == std::string::npos || line[0] < 'a' || line[0] > 'z') continue;
    const auto name = line.substr(0, end);
    const int occurrence = ++count[name];
    // The first statement of main.
    in_main |= line.starts_with("rt_sigaction(SIGPIPE, {sa_handler=SIG_IGN");
    if (in_main) calls.push_back({name, occurrence});
  }
  REQUIRE(calls.size() > 20);
  for (auto& call : calls) call.last = call.occurrence == count[call.name];
  return calls;
}

Program injected(const Sandbox& sandbox, const Program& program, const Call& call,
                 const std::string& what) {
  write_file(trace_file(sandbox), "");
  return with_strace(
      sandbox, program,
      {"-e", "trace=" + call.name, "-e",
       "inject=" + call.name + ":" + what + ":when=" + std::to_string(call.occurrence)});
}

bool was_injected(const Sandbox& sandbox) {
  const auto trace = content_of(trace_file(sandbox));
  return trace.find("(INJECTED)") != std::string::npos ||
         trace.find("killed by SIGKILL") != std::string::npos;
}

Running inject_into_thread(const Sandbox& sandbox, pid_t thread, const Call& call,
                           const std::string& what) {
  auto program = injected(sandbox, sandbox.program({}), call, what);
  program.argv.insert(program.argv.end(), {"-p", std::to_string(thread)});
  Running strace(program);
  REQUIRE(wait_until([&] {
    return content_of("/proc/" + std::to_string(thread) + "/status")
               .find("TracerPid:\t" + std::to_string(strace.pid()) + "\n") != std::string::npos;
  }));
  return strace;
}

std::optional<pid_t> stopped_below(const Sandbox& sandbox, const Running& strace) {
  bool stopped = false;
  REQUIRE(wait_until([&] {
    const auto trace = content_of(trace_file(sandbox));
    stopped = trace.find("stopped by SIGSTOP") != std::string::npos;
    return stopped || strace.has_ended();
  }));
  if (!stopped) return std::nullopt;
  const auto id = std::to_string(strace.pid());
  return std::stoi(content_of("/proc/" + id + "/task/" + id + "/children"));
}

}  // namespace cachectl::test
