#include "tests/cli/daemons.hpp"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace cachectl::test {

namespace fs = std::filesystem;

namespace {

/// State and parent of a process, "" and 0 where there is none.
struct Status {
  std::string state;
  pid_t parent = 0;
};

Status status_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string line;
  std::getline(file, line);
  Status status;
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return status;
  std::istringstream rest(line.substr(name_end + 1));
  rest >> status.state >> status.parent;
  return status;
}

}  // namespace

Program Service::program(const Sandbox& sandbox, std::vector<std::string> environment,
                         std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "daemon");
  auto program = sandbox.cachectl(std::move(arguments));
  program.environment.push_back("NOTIFY_SOCKET=" + sandbox.file("notify"));
  for (auto& variable : environment) {
    const auto is_same = [&](const std::string& other) {
      return other.starts_with(variable + '=');  // one without a value is taken away
    };
    std::erase_if(program.environment, is_same);
    program.environment.push_back(std::move(variable));
  }
  return program;
}

Service::Service(const Sandbox& sandbox, const std::string& configuration,
                 std::vector<std::string> environment, std::vector<std::string> arguments)
    : sandbox_(&sandbox),
      manager_((configure(sandbox, configuration), fs::remove(sandbox.file("notify")),
                sandbox.file("notify"))),
      process_(program(sandbox, std::move(environment), std::move(arguments))) {}

bool Service::says(const std::string& text) const {
  return wait_until([&] { return process_.errors().find(text) != std::string::npos; });
}

void Service::reload_with(const std::string& configuration) const {
  configure(*sandbox_, configuration);
  process_.send(SIGHUP);
}

Outcome Service::stop() {
  process_.send(SIGTERM);
  return process_.wait();
}

std::string warm_entry(const std::string& name, const std::string& script,
                       const std::string& more) {
  return "[entries." + name + "]\nshell = true\nwarm = true\nsource = '''" + script + "'''\n" +
         more + "\n";
}

std::string value_of(const Sandbox& sandbox, const std::string& key) {
  return sandbox.run({"--config", "/dev/null", "get", key}).output;
}

bool becomes(const Sandbox& sandbox, const std::string& key, const std::string& value) {
  return wait_until([&] { return value_of(sandbox, key) == value; });
}

bool lives(pid_t pid) {
  const auto state = status_of(std::to_string(pid)).state;
  return !state.empty() && state != "Z" && state != "X";
}

std::vector<pid_t> children_of(pid_t pid, Which which) {
  std::vector<pid_t> children;
  for (const auto& item : fs::directory_iterator("/proc")) {
    const auto name = item.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto status = status_of(name);
    if (status.parent != pid || (which == Which::zombies && status.state != "Z")) continue;
    children.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return children;
}

}  // namespace cachectl::test
