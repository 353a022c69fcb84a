// Walking over the names in a directory of the layout.
#pragma once

#include <functional>
#include <string>

#include "src/store/entry.hpp"
#include "src/store/root.hpp"

namespace cachectl::store {

/// Called with a directory and a name in it; false ends the walk.
using Visit = std::function<Result<bool>(const lock::Directory&, const std::string&)>;

/// Calls `visit` for each name in `directory` except . and .., in no order. False: ended
/// by the visitor.
[[nodiscard]] Result<bool> each_name(const lock::Directory& directory, const Visit& visit);

/// Calls `visit` for each name in each directory below entries/. `start` rotates the
/// order of the directories, so that walks that are cut short cover all in turn.
[[nodiscard]] Result<bool> each_entry(const Root& root, unsigned start, const Visit& visit);

/// The hash that a record file of this name belongs to; false when no record has it.
[[nodiscard]] bool hash_of_entry(const lock::Directory& directory, const std::string& name,
                                 KeyHash& hash);

/// Calls `visit` for each record that can be read, in no order, and `defect` with why one
/// cannot. Each is opened once, and of its value nothing is looked at.
using VisitRecord = std::function<void(const KeyHash&, const Entry&)>;
[[nodiscard]] Result<void> each_record(const Root& root, const VisitRecord& visit,
                                       const std::function<void(const Error&)>& defect);

}  // namespace cachectl::store
