#include "tests/remote/fixture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <sstream>

#include "lock/retry.hpp"
#include "tests/support/link.hpp"

namespace cachectl::test {

namespace fs = std::filesystem;

remote::Options options_at(const std::string& socket) {
  remote::Options options;
  options.server = must(remote::parse_url("unix:" + socket));
  return options;
}

RedisServer::RedisServer(std::vector<std::string> arguments, std::string sentinel)
    : arguments_(std::move(arguments)), sentinel_(std::move(sentinel)) {
  // All programs of Redis are one, which goes by its name. Debian has redis-server in a package
  // that starts a service, and redis-check-rdb in one that does not.
  for (const char* directory : {"/usr/bin", "/usr/local/bin"}) {
    const fs::path program = fs::path(directory) / "redis-check-rdb";
    if (fs::exists(program)) fs::create_symlink(program, directory_.file("redis-server"));
  }
  start();
}

RedisServer::~RedisServer() {
  if (process_) kill();
}

void RedisServer::start() {
  fs::remove(socket());
  lock::Command command;
  command.argv = {directory_.file("redis-server")};
  if (!sentinel_.empty()) command.argv.push_back(sentinel_);
  for (const std::string& word :
       {std::string("--port"), std::string("0"), std::string("--unixsocket"), socket(),
        std::string("--dir"), directory_.path(), std::string("--logfile"),
        directory_.file("log")}) {
    command.argv.push_back(word);
  }
  if (sentinel_.empty()) {
    for (const char* word :
         {"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}) {
      command.argv.emplace_back(word);
    }
  }
  command.argv.insert(command.argv.end(), arguments_.begin(), arguments_.end());
  if (!sentinel_.empty()) command.argv.emplace_back("--sentinel");
  command.null_input = true;
  command.die_with_parent = true;
  process_.emplace(must(lock::Child::spawn(command, nullptr)));
  const bool answers = wait_until([this] {
    try {
      const auto answer = say({"PING"});
      return answer == "PONG" || answer.starts_with("-NOAUTH");
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!answers) throw std::runtime_error("redis-server does not start: " + directory_.path());
}

std::unique_ptr<remote::Reply> RedisServer::ask(const std::vector<std::string>& command) const {
  auto options = this->options();
  options.read_timeout = options.write_timeout = options.connect_timeout = kPatience;
  for (std::size_t i = 0; i + 1 < arguments_.size(); ++i) {
    if (arguments_[i] == "--requirepass") options.password = arguments_[i + 1];
  }
  remote::Connection connection(options);
  const std::vector<std::string_view> arguments(command.begin(), command.end());
  std::unique_ptr<remote::Reply> answer;
  must(connection.exchange(remote::Commands().add(arguments),
                           [&](std::size_t, remote::Reply& reply) -> Result<void> {
                             answer = std::make_unique<remote::Reply>(std::move(reply));
                             return {};
                           }));
  return answer;
}

std::string RedisServer::say(const std::vector<std::string>& command) const {
  const auto reply = ask(command);
  switch (reply->type) {
    case remote::Reply::Type::integer:
      return std::to_string(reply->integer);
    case remote::Reply::Type::error:
      return '-' + reply->text;
    case remote::Reply::Type::nil:
      return "(nil)";
    default:
      return reply->text;
  }
}

long long RedisServer::number(const std::vector<std::string>& command) const {
  return ask(command)->integer;
}

std::vector<std::string> RedisServer::ask_list(const std::vector<std::string>& command) const {
  std::vector<std::string> texts;
  const auto reply = ask(command);
  for (const auto& element : reply->elements) texts.push_back(element->text);
  return texts;
}

void RedisServer::allow(const std::string& user, const std::string& password) const {
  const auto page = content_of(CACHECTL_SOURCE_DIR "/docs/fleet.md");
  const auto begin = page.find("`~cachectl:*") + 1;
  std::vector<std::string> command{"ACL", "SETUSER", user, "on", '>' + password};
  std::istringstream rights(page.substr(begin, page.find('`', begin) - begin));
  for (std::string right; rights >> right;) command.push_back(right);
  const auto answer = say(command);
  if (answer != "OK") throw std::runtime_error("ACL SETUSER: " + answer);
}

void RedisServer::stop() const {
  process_->send(SIGSTOP);
  siginfo_t info{};
  lock::retry([&] {
    return ::waitid(P_PID, static_cast<id_t>(process_->pid()), &info, WSTOPPED | WNOWAIT);
  });
}

void RedisServer::go_on() const { process_->send(SIGCONT); }

void RedisServer::kill() {
  process_->send(SIGKILL);
  must(process_->wait(nullptr));
  process_.reset();
}

FakeServer::FakeServer(Serve serve) {
  listening_ = lock::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = directory_.file("s");
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::bind(listening_.get(), generic, sizeof address) != 0 ||
      ::listen(listening_.get(), 16) != 0) {
    throw std::runtime_error("cannot listen at " + path);
  }
  thread_ = std::thread([this, serve = std::move(serve)] {
    while (!ending_) {
      const lock::Fd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (ending_ || !client.valid()) continue;
      ++clients_;
      serve(client.get());
    }
  });
}

FakeServer::~FakeServer() {
  ending_ = true;
  ::shutdown(listening_.get(), SHUT_RDWR);
  thread_.join();
}

Machine::Machine(remote::Options options) : cache(test.open()), root(test.open_root()) {
  remote::Hooks hooks;
  hooks.warn = [this](const Key&, const Error& why) { warnings.push_back(why.describe()); };
  hooks.breaker = [this](bool is_open) { ++(is_open ? opened : closed); };
  tier = must(remote::Tier::open(std::move(options), root.directory(), 0600, test.clock(),
                                 std::move(hooks)));
}

void Machine::put_here(const Key& key, std::string_view value, std::chrono::nanoseconds ttl) {
  put(cache, key, value, ttl);
}

Result<bool> Machine::publish(const Key& key) const {
  const lock::Fd file(::open(test.record(key).c_str(), O_RDONLY | O_CLOEXEC));
  return tier->publish(key, header(key), file.get());
}

Result<bool> Machine::publish(const Key& key, std::string_view value,
                              std::chrono::nanoseconds ttl) {
  put_here(key, value, ttl);
  return publish(key);
}

std::string Machine::record(const Key& key) const { return content_of(test.record(key)); }

store::RecordHeader Machine::header(const Key& key) const {
  return must(store::decode_header(lock::bytes_of(record(key))));
}

Result<std::optional<std::string>> Machine::fetch(const Key& key) const {
  std::string got;
  CACHECTL_ASSIGN(const bool hit, tier->fetch(key, [&](lock::Bytes part) -> Result<void> {
    got.append(reinterpret_cast<const char*>(part.data()), part.size());
    return {};
  }));
  return hit ? std::optional(std::move(got)) : std::nullopt;
}

std::string Machine::seen(const Key& key) const {
  const auto got = fetch(key);
  if (!got) return "error: " + got.error().describe();
  return *got ? **got : "miss";
}

std::string name_of(const Key& key) { return "cachectl:{" + key.hash().hex() + '}'; }

std::chrono::milliseconds allowed_lateness() {
  const bool measures = std::getenv("CACHECTL_TESTS_MEASURE") != nullptr;
  return std::chrono::milliseconds(measures ? 50 : 1000);
}

void tell_measured(const std::string& what, std::chrono::nanoseconds longest,
                   std::chrono::nanoseconds limit) {
  if (std::getenv("CACHECTL_TESTS_MEASURE") == nullptr) return;
  const auto in_ms = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  std::fprintf(stderr, "measured: %s: the longest took %.1f ms, of %.0f\n", what.c_str(),
               in_ms(longest), in_ms(limit));
}

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const auto word = random();
    std::memcpy(text.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return text;
}

}  // namespace cachectl::test
