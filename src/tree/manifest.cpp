#include "src/tree/manifest.hpp"

#include <algorithm>

#include "src/key.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/lines.hpp"

// The lines of a manifest (see lines.hpp for what is around them):
//
//   f  0644  1700000000.123456789  1234  0123456789abcdef  bin/tool
//   d  0755  1700000000.000000000  -     -                 bin
//   l  0777  1700000000.000000000  -     -                 lib/z.so    z.so.1
//   h  0644  1700000000.123456789  1234  -                 bin/alias   bin/tool
//   |  |     |                     |     |                 |           target
//   |  |     |                     |     |                 path; "." is the tree itself
//   |  |     |                     |     XXH3-64; "-" where it was not asked for
//   |  |     |                     size of files
//   |  |     seconds since 1970 and nanoseconds
//   |  mode
//   type
//
// in the order of path_less.

namespace cachectl::tree {

namespace {

constexpr std::string_view kManifestKind = "cachectl-manifest";

bool is_type(char letter) {
  return letter == 'f' || letter == 'd' || letter == 'l' || letter == 'h';
}

bool valid_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('\0') == std::string_view::npos;
}

/// What is wrong with an item by itself; empty: nothing.
std::string_view fault_of(const Item& item) {
  if ((item.mode & ~static_cast<mode_t>(07777)) != 0) return "has an impossible mode";
  if (item.modified.nanoseconds < 0 || item.modified.nanoseconds >= 1'000'000'000) {
    return "has an impossible time";
  }
  const bool file = item.type == Type::file || item.type == Type::hard_link;
  if (!file && item.size != 0) return "has a size";
  if (item.type != Type::file && item.checksum) return "has a checksum";
  const bool link = item.type == Type::symlink || item.type == Type::hard_link;
  if (link == item.target.empty()) return link ? "has no target" : "has a target";
  if (item.target.find('\0') != std::string::npos) return "has an impossible target";
  return {};
}

std::string_view fault_of_link(const Manifest& manifest, const Item& item) {
  const auto* first = manifest.find(item.target);
  if (first == nullptr || first->type != Type::file || !path_less(item.target, item.path)) {
    return "is a link to what is no file";
  }
  if (first->mode != item.mode || first->modified != item.modified || first->size != item.size) {
    return "differs from the file that it is";
  }
  return {};
}

}  // namespace

timespec FileTime::as_timespec() const {
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

bool path_less(std::string_view left, std::string_view right) {
  const auto shorter = static_cast<std::ptrdiff_t>(std::min(left.size(), right.size()));
  const auto [l, r] = std::mismatch(left.begin(), left.begin() + shorter, right.begin());
  if (l == left.begin() + shorter) return left.size() < right.size();
  if (*l == '/' || *r == '/') return *l == '/';
  return static_cast<unsigned char>(*l) < static_cast<unsigned char>(*r);
}

std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

const Item* Manifest::find(std::string_view path) const {
  const auto found = std::lower_bound(
      items.begin(), items.end(), path,
      [](const Item& item, std::string_view key) { return path_less(item.path, key); });
  return found != items.end() && found->path == path ? &*found : nullptr;
}

std::uint64_t Manifest::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& item : items) {
    if (item.type == Type::file) sum += item.size;
  }
  return sum;
}

std::uint64_t Manifest::files() const {
  return static_cast<std::uint64_t>(std::count_if(
      items.begin(), items.end(), [](const Item& item) { return item.type == Type::file; }));
}

Result<void> check(const Manifest& manifest, std::string_view what) {
  const auto& items = manifest.items;
  const auto corrupt = [&](const Item& item, std::string_view why) {
    return fail(Errc::corrupt,
                std::string(what) + ": '" + escaped(item.path) + "' " + std::string(why));
  };
  if (items.empty() || !items[0].path.empty() ||
      (items[0].type != Type::directory && (items[0].type != Type::file || items.size() > 1))) {
    return fail(Errc::corrupt, std::string(what) + ": is not that of a tree");
  }
  // The directories on the way to the item, and the last name seen in each. In the order of
  // path_less, names in a directory go up, and nobody comes back to it.
  struct Open {
    std::string_view path;
    std::string_view last;
  };
  std::vector<Open> open;
  for (const auto& item : items) {
    if (const auto fault = fault_of(item); !fault.empty()) return corrupt(item, fault);
    if (&item != &items[0]) {
      const auto parent = parent_of(item.path);
      const auto name = name_of(item.path);
      while (!open.empty() && open.back().path != parent) open.pop_back();
      if (open.empty()) return corrupt(item, "is in no directory, or out of order");
      if (!valid_name(name) || item.path.starts_with('/')) return corrupt(item, "is no name");
      if (name <= open.back().last) return corrupt(item, "is out of order");
      open.back().last = name;
    }
    if (item.type == Type::directory) {
      if (open.size() >= kDeepest) return corrupt(item, "lies too deep");
      open.push_back({item.path, {}});
    } else if (item.type == Type::hard_link) {
      if (const auto fault = fault_of_link(manifest, item); !fault.empty()) {
        return corrupt(item, fault);
      }
    }
  }
  return {};
}

std::string encode(const Manifest& manifest) {
  LineWriter writer(kManifestKind, manifest.items.size(), manifest.bytes());
  for (const auto& item : manifest.items) {
    const char type = static_cast<char>(item.type);
    writer.word({&type, 1}).octal(item.mode, 4).time(item.modified);
    if (item.type == Type::file || item.type == Type::hard_link) {
      writer.number(item.size);
    } else {
      writer.word("-");
    }
    if (item.checksum) {
      writer.hex(*item.checksum);
    } else {
      writer.word("-");
    }
    writer.path(item.path);
    if (!item.target.empty()) writer.bytes(item.target);
    writer.end_line();
  }
  return std::move(writer).finish();
}

Result<Manifest> decode_manifest(std::string_view text, std::string_view what) {
  CACHECTL_ASSIGN(auto reader, LineReader::open(text, kManifestKind, what));
  Manifest manifest;
  // Not more than fit into the text, whatever it says.
  manifest.items.reserve(std::min(reader.items(), text.size() / 16));
  while (reader.next_line()) {
    Item item;
    const auto type = reader.word();
    if (type.size() != 1 || !is_type(type[0])) {
      return fail(Errc::corrupt, std::string(what) + ": has an item of unknown type");
    }
    item.type = static_cast<Type>(type[0]);
    item.mode = static_cast<mode_t>(reader.number(8));
    item.modified = reader.time();
    item.size = reader.number_or_dash().value_or(0);
    item.checksum = reader.number_or_dash(16);
    item.path = reader.path();
    if (reader.more_fields()) item.target = reader.text();
    if (!reader.line_done()) break;
    manifest.items.push_back(std::move(item));
  }
  if (!reader.good() || reader.more_fields() || manifest.items.size() != reader.items() ||
      manifest.bytes() != reader.bytes()) {
    return fail(Errc::corrupt, std::string(what) + ": is damaged");
  }
  CACHECTL_TRY(check(manifest, what));
  return manifest;
}

}  // namespace cachectl::tree
