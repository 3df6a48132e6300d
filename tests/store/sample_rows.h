#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/base/time_proto.h"
#include "server/store/store.h"

namespace finetune {

// What tests of the tables write.

inline StoredChange Change(uint64_t revision, const std::string& id, const std::string& after,
                           const std::string& before = "", bool forgotten = false) {
  return {revision, absl::UnixEpoch(), id, after, before, forgotten};
}

// One of alice's.
inline record::Intent MakeIntent(const std::string& request_id, record::Intent::State state,
                                 std::optional<absl::Time> settled = std::nullopt) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id(request_id);
  intent.set_state(state);
  *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(1));
  if (settled) *intent.mutable_settle_time() = ToProto(*settled);
  return intent;
}

}  // namespace finetune
