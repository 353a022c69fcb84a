// A layer of a program's own over the library: its own keys, its own functions. The rest of the
// program asks Prices, and knows nothing of keys, TTLs and locks.
#include <charconv>
#include <iostream>
#include <string>

#include "src/library/layered_cache.hpp"

namespace {

using cachectl::Key;
using cachectl::Result;

/// Where prices come from: here a shop that counts how often it is asked.
class Shop {
 public:
  Result<std::string> price(int article) {
    ++asked_;
    if (article < 0) return cachectl::fail(cachectl::Errc::io, "the shop has no such article");
    return std::to_string(100 + article);
  }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  int asked_ = 0;
};

class Prices {
 public:
  Prices(cachectl::Cache cache, Shop& shop) : cache_(std::move(cache), options()), shop_(&shop) {}

  /// In cents. Changes of the shop are seen after five minutes at the latest, and while it does
  /// not answer the last price holds for a day.
  Result<int> of(int article) {
    CACHECTL_ASSIGN(const auto key, key_of(article));
    CACHECTL_ASSIGN(const auto value, cache_.get_or_compute_with(key, "price", [this, article] {
      return shop_->price(article);
    }));
    int cents = 0;
    const auto& text = value->output;
    std::from_chars(text.data(), text.data() + text.size(), cents);
    return cents;
  }

  /// The shop has told us of a change.
  Result<void> changed(int article) {
    CACHECTL_ASSIGN(const auto key, key_of(article));
    CACHECTL_TRY(cache_.remove(key));
    return {};
  }

 private:
  static cachectl::LayeredOptions options() {
    cachectl::LayeredOptions options;
    auto& price = options.strategies["price"];
    price.ttl = std::chrono::minutes(5);
    price.stale_if_error = std::chrono::hours(24);
    return options;
  }
  static Result<Key> key_of(int article) { return Key::from("price:" + std::to_string(article)); }

  cachectl::LayeredCache cache_;
  Shop* shop_;
};

int run(const std::string& root) {
  cachectl::CacheOptions options;
  options.root = root;
  auto cache = cachectl::Cache::open(std::move(options));
  if (!cache) {
    std::cerr << cache.error().describe() << '\n';
    return 1;
  }
  Shop shop;
  Prices prices(std::move(*cache), shop);
  for (int each = 0; each < 3; ++each) std::cout << prices.of(7).value_or(-1) << '\n';
  if (!prices.changed(7)) return 1;
  std::cout << prices.of(7).value_or(-1) << '\n';
  const auto none = prices.of(-1);
  std::cout << (none ? "a price" : none.error().describe()) << '\n';
  std::cout << "the shop was asked " << shop.asked() << " times\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: second_layer DIRECTORY\n";
    return 2;
  }
  return run(argv[1]);
}
