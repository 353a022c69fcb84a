// DiskStates: what a power loss may leave on the disk, from the log of one run.
//
// After ALICE (Pillai et al., OSDI 2014). An fsync makes durable what was done before to
// that inode: for a file its content and mode, for a directory its names. Of the rest,
// any part may have reached the disk: every subset, applied in order, is a possible
// state, and a write may be there, or not, or in its first half, or as zeros (the size
// reached the disk and the data did not).
//
// Not modelled: the times of files; a lock file's content (a hint for people; there or
// not); sectors written out of order within one half of a write; renames that are not
// atomic; hard links; disks that lie about a flush. A rename is durable when the
// directory that it leads to is synced. File systems may order more than this.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace cachectl::test {

using Inode = std::uint64_t;

struct Node {
  bool directory = false;
  unsigned mode = 0;
  std::string data;
  std::map<std::string, Inode> names;
};

/// A disk by its inodes. Those that no name leads to do not count.
using Disk = std::map<Inode, Node>;

struct Operation {
  std::string kind;  // as in the log of tests/support/oplog_shim.cpp
  Inode inode = 0;   // whose sync makes it durable
  Inode target = 0;  // the inode that is named, for kinds that name one
  Inode from = 0;    // the directory that is renamed from
  std::string name;
  std::string from_name;
  std::string data;
  std::uint64_t offset = 0;
  unsigned mode = 0;
};

/// Throws on a line that is none.
[[nodiscard]] std::vector<Operation> read_log(const std::string& path);

/// The tree at `path`, as it lies on the disk now.
[[nodiscard]] Disk disk_at(const std::string& path);
[[nodiscard]] Inode inode_at(const std::string& path);

/// The tree at `top` as text: equal for disks that no reader can tell apart.
[[nodiscard]] std::string serialized(const Disk& disk, Inode top);

/// Makes the tree in `directory`, which is there and empty.
void materialize(const Disk& disk, Inode top, const std::string& directory);

/// All that a power loss may leave at any moment of the run, or, with `at_end`, after it;
/// each once, until `visit` says false. Returns how many there were before duplicates were
/// left out.
std::size_t each_state(const Disk& before, Inode top, const std::vector<Operation>& operations,
                       bool at_end, const std::function<bool(const Disk&)>& visit);

}  // namespace cachectl::test
