#include "src/telemetry/observer.hpp"

namespace cachectl::telemetry {

std::string_view name_of(What what) {
  switch (what) {
    case What::hit:
      return "hit";
    case What::stale_hit:
      return "stale_hit";
    case What::miss:
      return "miss";
    case What::shared:
      return "shared";
    case What::stand_in:
      return "stand_in";
    case What::remembered_failure:
      return "remembered_failure";
    case What::uncached:
      return "uncached";
    case What::source_started:
      return "source_started";
    case What::source_ended:
      return "source_ended";
    case What::failed_status:
      return "failed_status";
    case What::failed_timeout:
      return "failed_timeout";
    case What::failed_empty:
      return "failed_empty";
    case What::failed_start:
      return "failed_start";
    case What::failed_store:
      return "failed_store";
    case What::early_refresh:
      return "early_refresh";
    case What::stale_refresh:
      return "stale_refresh";
    case What::refresh_ended:
      return "refresh_ended";
    case What::published:
      return "published";
    case What::removed:
      return "removed";
    case What::expired:
      return "expired";
    case What::evicted:
      return "evicted";
    case What::lock_acquired:
      return "lock_acquired";
    case What::lock_timed_out:
      return "lock_timed_out";
    case What::lock_released:
      return "lock_released";
    case What::lease_acquired:
      return "lease_acquired";
    case What::lease_lost:
      return "lease_lost";
    case What::checked_out:
      return "checked_out";
    case What::checked_in:
      return "checked_in";
    case What::pool_exhausted:
      return "pool_exhausted";
    case What::remote_hit:
      return "remote_hit";
    case What::remote_miss:
      return "remote_miss";
    case What::remote_published:
      return "remote_published";
    case What::remote_removed:
      return "remote_removed";
    case What::remote_failed_connection:
      return "remote_failed_connection";
    case What::remote_failed_serialization:
      return "remote_failed_serialization";
    case What::remote_failed_memory:
      return "remote_failed_memory";
    case What::remote_failed_cache:
      return "remote_failed_cache";
    case What::breaker_opened:
      return "breaker_opened";
    case What::breaker_closed:
      return "breaker_closed";
  }
  return "";
}

void Observer::opened(const lock::Directory& /*root*/, mode_t /*file_mode*/) {}

void Observer::left_caller() {}

}  // namespace cachectl::telemetry
