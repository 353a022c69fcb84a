// Random trees and random changes to them, the same for the same seed.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace cachectl::test {

class RandomTree {
 public:
  /// `kind` of files that may come: those that a tree may have, or any.
  enum class Kind { sound, any };

  RandomTree(std::string path, unsigned seed, Kind kind)
      : path_(std::move(path)), random_(seed), kind_(kind) {}

  /// Makes an empty directory and changes it `changes` times.
  void make(unsigned changes);
  void change(unsigned times);

 private:
  void change_once();
  [[nodiscard]] unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  /// A path that is there; the tree itself, seldom.
  [[nodiscard]] std::string any(bool directory = false);
  /// A name in a directory that is there; the name may be in use.
  [[nodiscard]] std::string fresh();
  void write(const std::string& path);
  void change_content_secretly(const std::string& path);

  std::string path_;
  std::mt19937 random_;
  Kind kind_;
};

}  // namespace cachectl::test
