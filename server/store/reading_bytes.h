#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/store/database_clock.h"
#include "server/store/fleet.h"

namespace finetune {

// A reading as the leader leaves it in the database for the others, in the database's time.
std::string EncodeReading(const FleetReading& reading, const DatabaseClock& clock);
// Nullopt if the bytes are not a reading, for instance if another version wrote them.
std::optional<FleetReading> DecodeReading(std::string_view bytes, const DatabaseClock& clock);

}  // namespace finetune
