#include "tests/store/disk_states.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <unordered_set>

#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

namespace fs = std::filesystem;

namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

Operation read_line(const std::string& line) {
  std::istringstream words(line);
  Operation one;
  words >> one.kind;
  if (one.kind == "mkdir" || one.kind == "create") {
    words >> one.inode >> one.name >> one.target >> one.mode;
  } else if (one.kind == "write") {
    std::string hex;
    words >> one.inode >> one.offset >> hex;
    one.data = from_hex(hex);
  } else if (one.kind == "rename") {
    words >> one.from >> one.from_name >> one.inode >> one.name >> one.target;
  } else if (one.kind == "unlink") {
    words >> one.inode >> one.name;
  } else if (one.kind == "chmod") {
    words >> one.inode >> one.mode;
  } else if (one.kind == "sync") {
    words >> one.inode;
  }
  if (!words || one.inode == 0) throw std::runtime_error("no operation: " + line);
  return one;
}

/// A new file may get the number of one that is gone: give it a number of its own.
void rename_reused(std::vector<Operation>& operations, const Disk& before) {
  std::map<Inode, Inode> now;
  std::set<Inode> used;
  for (const auto& [inode, node] : before) used.insert(inode);
  Inode fresh = Inode{1} << 62U;
  const auto current = [&](Inode inode) {
    const auto found = now.find(inode);
    return found == now.end() ? inode : found->second;
  };
  for (auto& one : operations) {
    if (one.kind == "create" || one.kind == "mkdir") {
      if (!used.insert(one.target).second) now[one.target] = fresh++;
    }
    one.inode = current(one.inode);
    one.target = current(one.target);
    one.from = current(one.from);
  }
}

enum class Outcome { lost, done, half, zeros };

void write(Node& node, const Operation& one, Outcome outcome) {
  auto data = one.data;
  if (outcome == Outcome::half) data.resize(data.size() / 2);
  if (outcome == Outcome::zeros) data.assign(data.size(), '\0');
  if (node.data.size() < one.offset + data.size()) node.data.resize(one.offset + data.size());
  node.data.replace(one.offset, data.size(), data);
}

void apply(Disk& disk, const Operation& one, Outcome outcome) {
  if (outcome == Outcome::lost) return;
  auto& node = disk[one.inode];
  if (one.kind == "mkdir" || one.kind == "create") {
    node.names[one.name] = one.target;
  } else if (one.kind == "write") {
    write(node, one, outcome);
  } else if (one.kind == "rename") {
    disk[one.from].names.erase(one.from_name);
    node.names[one.name] = one.target;
  } else if (one.kind == "unlink") {
    node.names.erase(one.name);
  } else if (one.kind == "chmod") {
    node.mode = one.mode;
  }
}

/// Inodes exist from the start, as what they were made; only names lead to them.
Disk with_inodes(Disk disk, const std::vector<Operation>& operations) {
  for (const auto& one : operations) {
    if (one.kind != "mkdir" && one.kind != "create") continue;
    disk[one.target] = Node{one.kind == "mkdir", one.mode, {}, {}};
  }
  return disk;
}

/// As serialized, but with the inodes that no name leads to yet.
std::string inodes_of(const Disk& disk) {
  std::string text;
  for (const auto& [inode, node] : disk) {
    text += std::to_string(inode) + ":" + std::to_string(node.mode) + ":" +
            std::to_string(node.data.size()) + ":" + node.data;
    for (const auto& [name, target] : node.names) text += name + "=" + std::to_string(target) + ",";
  }
  return text;
}

std::set<Inode> lock_files(const std::vector<Operation>& operations, const Disk& before) {
  std::set<Inode> inodes;
  for (const auto& one : operations) {
    if (one.kind == "create" && one.name == "cache.lock") inodes.insert(one.target);
  }
  for (const auto& [inode, node] : before) {
    const auto found = node.names.find("cache.lock");
    if (found != node.names.end()) inodes.insert(found->second);
  }
  return inodes;
}

}  // namespace

std::vector<Operation> read_log(const std::string& path) {
  std::vector<Operation> operations;
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) operations.push_back(read_line(line));
  return operations;
}

Inode inode_at(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) throw std::runtime_error("stat " + path);
  return status.st_ino;
}

Disk disk_at(const std::string& path) {
  Disk disk;
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) throw std::runtime_error("stat " + path);
  auto& node = disk[status.st_ino];
  node.mode = status.st_mode & 07777U;
  node.directory = S_ISDIR(status.st_mode);
  if (!node.directory) {
    node.data = content_of(path);
    return disk;
  }
  for (const auto& item : fs::directory_iterator(path)) {
    node.names[item.path().filename()] = inode_at(item.path());
    disk.merge(disk_at(item.path()));
  }
  return disk;
}

std::string serialized(const Disk& disk, Inode top) {
  const auto& node = disk.at(top);
  std::string text = (node.directory ? "d" : "f") + std::to_string(node.mode);
  if (!node.directory) return text + ":" + std::to_string(node.data.size()) + ":" + node.data;
  text += "{";
  for (const auto& [name, inode] : node.names) text += name + "=" + serialized(disk, inode) + ",";
  return text + "}";
}

void materialize(const Disk& disk, Inode top, const std::string& directory) {
  for (const auto& [name, inode] : disk.at(top).names) {
    const auto path = directory + "/" + name;
    const auto& node = disk.at(inode);
    if (node.directory) {
      fs::create_directory(path);
      materialize(disk, inode, path);
    } else {
      write_file(path, node.data);
    }
    if (::chmod(path.c_str(), node.mode) != 0) throw std::runtime_error("chmod " + path);
  }
}

std::size_t each_state(const Disk& before, Inode top, const std::vector<Operation>& logged,
                       bool at_end, const std::function<bool(const Disk&)>& visit) {
  auto operations = logged;
  rename_reused(operations, before);
  const auto start = with_inodes(before, operations);
  const auto locks = lock_files(operations, before);
  std::unordered_set<std::string> seen;
  std::size_t raw = 0;
  std::vector<bool> durable(operations.size(), false);

  const auto outcomes = [&](std::size_t index) -> std::vector<Outcome> {
    const auto& one = operations[index];
    if (durable[index] || (one.kind == "write" && locks.count(one.inode) != 0)) {
      return {Outcome::done};
    }
    if (one.kind == "write") return {Outcome::lost, Outcome::done, Outcome::half, Outcome::zeros};
    return {Outcome::lost, Outcome::done};
  };
  // Depth first, so that a visitor who has seen enough need not wait for all of them.
  std::vector<std::unordered_set<std::string>> known;
  const std::function<bool(const Disk&, std::size_t, std::size_t)> branch =
      [&](const Disk& disk, std::size_t index, std::size_t end) {
        while (index < end && operations[index].kind == "sync") ++index;
        if (index == end) return !seen.insert(serialized(disk, top)).second || visit(disk);
        for (const auto outcome : outcomes(index)) {
          auto changed = disk;
          apply(changed, operations[index], outcome);
          // Equal ones stay equal: what follows need not be tried on each.
          if (!known[index].insert(inodes_of(changed)).second) continue;
          if (!branch(changed, index + 1, end)) return false;
        }
        return true;
      };
  const auto crash_before = [&](std::size_t end) {
    std::size_t combinations = 1;
    for (std::size_t index = 0; index < end; ++index) {
      if (operations[index].kind != "sync") combinations *= outcomes(index).size();
    }
    raw += combinations;
    known.assign(end, {});
    return branch(start, 0, end);
  };

  // What may be lost only grows until the next sync: the states of the moments between
  // are among those right before it.
  for (std::size_t index = 0; index < operations.size(); ++index) {
    if (operations[index].kind != "sync") continue;
    if (!at_end && !crash_before(index)) return raw;
    for (std::size_t earlier = 0; earlier < index; ++earlier) {
      if (operations[earlier].inode == operations[index].inode) durable[earlier] = true;
    }
  }
  crash_before(operations.size());
  return raw;
}

}  // namespace cachectl::test
