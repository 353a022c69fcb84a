// The parts of examine().
#pragma once

#include "src/doctor/doctor.hpp"

namespace cachectl::doctor {

/// filesystem.cpp: of a directory that is there.
void check_above(const std::string& path, Report& report);
void check_file_system(const lock::Directory& directory, Report& report);
void check_space(const lock::Directory& directory, Report& report);
/// By trying, in the staging directory of a cache.
void check_locks(const lock::Directory& staging, Report& report);
void check_publishing(const lock::Directory& staging, Report& report);

/// content.cpp: of a cache that is there.
void check_layout(const store::Root& root, Report& report);
void check_lock_file(const store::Root& root, Report& report);
void check_leases(const store::Root& root, Report& report);
void check_staging(const store::Root& root, Report& report);
void check_replicas(const store::Root& root, Report& report);
void check_records(const store::Root& root, const Patient& patient, Report& report);
void check_clock(const Patient& patient, Report& report);

/// "1 file", "2 files".
[[nodiscard]] std::string count(std::uint64_t number, std::string_view one, std::string_view many);

}  // namespace cachectl::doctor
