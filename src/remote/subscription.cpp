#include "src/remote/subscription.hpp"

#include "src/remote/socket.hpp"

namespace cachectl::remote {

Result<void> Subscription::begin() {
  const auto channel = tier_->names().channel();
  CACHECTL_ASSIGN(const auto* server, tier_->route().find(channel, tier_->route().search()));
  auto connection = std::make_unique<Connection>(server->options);
  CACHECTL_TRY(connection->say(Commands().add({"SUBSCRIBE", channel})));
  is_asked_ = true;  // it answers that it does
  connection_ = std::move(connection);
  return {};
}

Result<Subscription::News> Subscription::next(int wake) {
  auto news = [&]() -> Result<News> {
    if (!connection_) CACHECTL_TRY(begin());
    while (true) {
      const auto patience =
          is_asked_ ? tier_->route().options().read_timeout : std::chrono::nanoseconds(kSilence);
      CACHECTL_ASSIGN(const auto reply, connection_->listen(lock::Deadline::after(patience), wake));
      if (reply == nullptr) {
        CACHECTL_ASSIGN(const bool stops,
                        wait_for_socket(wake, POLLIN, lock::Deadline::immediately()));
        if (stops) return News{};
      }
      if (reply == nullptr && is_asked_) {
        return fail(Errc::unreachable, connection_->server() + ": no sign of life in time");
      }
      is_asked_ = reply == nullptr;
      if (reply == nullptr) {
        CACHECTL_TRY(connection_->say(Commands().add({"PING"})));
        continue;
      }
      CACHECTL_ASSIGN(const auto understood, understand(*reply));
      if (understood) return *understood;
    }
  }();
  if (!news) {
    connection_.reset();
    tier_->route().suspect();
  }
  return news;
}

Result<std::optional<Subscription::News>> Subscription::understand(const Reply& reply) const {
  std::optional<News> news;
  const auto text = [&](std::size_t at) -> std::string_view {
    return at < reply.elements.size() ? reply.elements[at]->text : std::string_view();
  };
  if (text(0) == "subscribe") {
    news = News{News::What::begun, {}, {}};
  } else if (text(0) == "message") {
    // PREFIX{HASH} and eight bytes.
    constexpr std::size_t kDigits = 32;
    const auto message = text(2);
    if (message.size() < kDigits + 2 + sizeof(std::int64_t)) return news;
    const auto end = message.size() - sizeof(std::int64_t);
    News change{News::What::changed, {}, time_in(message.substr(end))};
    if (KeyHash::parse(message.substr(end - kDigits - 1, kDigits), change.hash)) news = change;
  } else if (text(0) != "pong") {
    return fail(connection_->refused(reply));
  }
  return news;
}

}  // namespace cachectl::remote
