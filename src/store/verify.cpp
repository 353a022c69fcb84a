#include "src/store/verify.hpp"

#include <atomic>
#include <mutex>
#include <thread>

#include "lock/number.hpp"
#include "src/store/scan.hpp"
#include "src/store/trees.hpp"
#include "src/tree/workers.hpp"

namespace cachectl::store {

namespace {

using Problems = std::vector<std::string>;

/// Something to be read.
struct Item {
  std::string path;           ///< of a record, below the root; empty: it is a tree
  KeyHash hash;               ///< the name that it lies under
  Generation generation = 0;  ///< of a tree
};

Result<void> add_records(const Root& root, std::vector<Item>& items) {
  CACHECTL_TRY(
      each_entry(root, 0, [&](const lock::Directory& in, const std::string& name) -> Result<bool> {
        KeyHash hash;
        if (hash_of_entry(in, name, hash)) items.push_back({entry_name(hash).path(), hash});
        return true;
      }));
  CACHECTL_ASSIGN(const auto attempts, root.directory().find_below(Root::kAttempts));
  if (!attempts) return {};
  CACHECTL_TRY(each_name(*attempts, [&](const auto&, const std::string& name) -> Result<bool> {
    KeyHash hash;
    if (KeyHash::parse(name, hash)) {
      items.push_back({std::string(Root::kAttempts) + "/" + name, hash});
    }
    return true;
  }));
  return {};
}

Result<void> add_trees(const Root& root, std::vector<Item>& items) {
  CACHECTL_ASSIGN(const auto trees, root.directory().find_below(Root::kTrees));
  if (!trees) return {};
  const auto visit = [&](const lock::Directory& in, const std::string& name) -> Result<bool> {
    KeyHash hash;
    if (!KeyHash::parse(name, hash)) return true;
    CACHECTL_ASSIGN(const auto of_key, in.find_below(name));
    if (!of_key) return true;
    return each_name(*of_key, [&](const auto&, const std::string& number) -> Result<bool> {
      Item item{{}, hash};
      if (parse_number(number, item.generation)) items.push_back(std::move(item));
      return true;
    });
  };
  CACHECTL_TRY(each_name(*trees, visit));
  return {};
}

/// A message that begins with the path that stands in front of it anyway.
std::string without(const std::string& path, const std::string& message) {
  const auto beginning = path + ": ";
  return message.starts_with(beginning) ? message.substr(beginning.size()) : message;
}

class Verifier {
 public:
  Verifier(const Root& root, const VerifyOptions& options) : root_(root), options_(options) {}

  Result<Verified> run() {
    CACHECTL_TRY(add_records(root_, items_));
    CACHECTL_TRY(add_trees(root_, items_));
    tree::Share share(items_.size());
    const auto caller = std::this_thread::get_id();
    std::atomic<std::uint64_t> done = 0;
    threads_ = tree::thread_count(options_.jobs);
    CACHECTL_TRY(tree::run_workers(threads_, share, [&]() -> Result<void> {
      while (true) {
        const auto part = share.take(4);
        if (part.first == part.end) return {};
        for (auto index = part.first; index < part.end; ++index) {
          look_at(items_[index]);
          ++done;
          if (options_.progress && std::this_thread::get_id() == caller) {
            options_.progress(done, items_.size());
          }
        }
      }
    }));
    return result_;
  }

 private:
  void look_at(const Item& item) {
    if (item.path.empty()) return look_at_tree(item);
    const auto path = root_.directory().path_of(item.path);
    auto found = open_record(root_.directory(), item.path, nullptr, Want::look);
    if (!found) return tell(path, {without(path, found.error().message)}, 0);
    if (found->defect) return tell(path, {without(path, found->defect->message)}, 0);
    if (!found->entry) return;  // removed meanwhile
    auto& entry = *found->entry;
    const auto size = entry.header().file_size();
    if (!(KeyHash::of(entry.key()) == item.hash)) {
      return tell(path, {"lies under the name of another key"}, size);
    }
    auto problems = record_problems(item, entry);
    if (!problems) problems = Problems{problems.error().message};
    tell(std::string(entry.key()), *problems, size);
  }

  /// Trees are items of their own: of a record's only that it is there.
  Result<Problems> record_problems(const Item& item, Entry& entry) const {
    Problems problems;
    if (auto verified = entry.verify(); !verified) problems.push_back(verified.error().message);
    CACHECTL_ASSIGN(const auto missing,
                    missing_tree(root_, root_.directory(), item.path, item.hash, entry.header()));
    if (missing) problems.push_back(*missing + ": is missing");
    return problems;
  }

  void look_at_tree(const Item& item) {
    const auto path = root_.directory().path_of(tree_path(item.hash, item.generation));
    auto problems = tree_problems(root_, item.hash, item.generation, threads_ > 1 ? 1 : 0);
    if (problems && !*problems) return;  // removed meanwhile
    const auto told = problems ? **problems : Problems{problems.error().message};
    const std::lock_guard guard(mutex_);
    ++result_.trees;
    add(path, told);
  }

  void tell(const std::string& where, const Problems& problems, std::uint64_t size) {
    const std::lock_guard guard(mutex_);
    ++result_.records;
    result_.bytes += size;
    add(where, problems);
  }

  void add(const std::string& where, const Problems& problems) {
    if (problems.empty()) return;
    ++result_.damaged;
    for (const auto& problem : problems) {
      if (options_.problem) options_.problem(where, problem);
    }
  }

  const Root& root_;
  const VerifyOptions& options_;
  std::vector<Item> items_;
  unsigned threads_ = 1;
  std::mutex mutex_;  // guards the result
  Verified result_;
};

}  // namespace

Result<std::optional<Problems>> tree_problems(const Root& root, const KeyHash& hash,
                                              Generation generation, unsigned threads) {
  CACHECTL_ASSIGN(const auto found, pin_tree(root, hash, generation));
  if (!found) return std::optional<Problems>();
  Problems problems;
  auto manifest = found->manifest();
  if (!manifest) {
    if (manifest.error().code != Errc::corrupt) return fail(std::move(manifest).error());
    problems.push_back(manifest.error().message);
    return std::optional(std::move(problems));
  }
  tree::ScanOptions options;
  options.jobs = threads;
  CACHECTL_ASSIGN(const auto deviations,
                  tree::verify(found->directory(), StagedTree::kValue, *manifest, options));
  for (const auto& deviation : deviations) {
    problems.push_back(found->path() + (deviation.path.empty() ? "" : "/" + deviation.path) + ": " +
                       std::string(tree::name_of(deviation.difference)));
  }
  return std::optional(std::move(problems));
}

Result<std::optional<std::string>> missing_tree(const Root& root, const lock::Directory& in,
                                                const std::string& name, const KeyHash& hash,
                                                const RecordHeader& header) {
  std::optional<std::string> nothing;
  if (header.kind != Kind::tree) return nothing;
  const auto place = tree_path(hash, header.tree_generation);
  CACHECTL_ASSIGN(const auto there, root.directory().status(place));
  if (there) return nothing;
  // It may have been superseded and removed since the record was opened.
  CACHECTL_ASSIGN(const auto again, open_record(in, name, nullptr, Want::header));
  if (!again.entry || again.entry->header().tree_generation != header.tree_generation) {
    return nothing;
  }
  return std::optional(root.directory().path_of(place));
}

Result<Problems> value_problems(const Root& root, const KeyHash& hash, Entry& entry) {
  Problems problems;
  if (auto verified = entry.verify(); !verified) {
    if (verified.error().code != Errc::corrupt) return fail(std::move(verified).error());
    problems.push_back(verified.error().message);
  }
  const auto& header = entry.header();
  if (header.kind != Kind::tree) return problems;
  CACHECTL_ASSIGN(const auto of_tree, tree_problems(root, hash, header.tree_generation, 0));
  if (of_tree) {
    problems.insert(problems.end(), of_tree->begin(), of_tree->end());
  } else {
    problems.push_back("generation " + std::to_string(header.tree_generation) + " is missing");
  }
  return problems;
}

Result<Verified> verify_all(const Root& root, const VerifyOptions& options) {
  return Verifier(root, options).run();
}

}  // namespace cachectl::store
