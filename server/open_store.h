#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "server/store/fleet.h"
#include "server/store/store.h"

namespace finetune {

// The name of this gateway among several, from its flag, its environment or its machine.
std::string ReplicaName(const Config& config);

// Tries until the database can be reached, because without it there is nothing to serve; ends when
// the database refuses or the process is to end.
absl::Status AwaitDatabase(const std::function<absl::Status()>& attempt,
                           const std::function<bool()>& should_stop);

// The record that the configuration names. Waits for a database that is not there until
// `should_stop`. Errors are one sentence that says what to do.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const Config& config,
                                                 const std::function<bool()>& should_stop);

// The gateways that share this record; `started` is when this process was, by the time of day.
// `store` outlives it.
std::unique_ptr<Fleet> MakeFleet(const Config& config, const Store& store, absl::Time started);

}  // namespace finetune
