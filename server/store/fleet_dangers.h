#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace finetune {

// What operators should know of the database and of this machine's clock: logs it once each time
// that it changes. Not thread-safe.
class FleetDangers {
 public:
  // How far the time of day is ahead of the database's, give or take.
  void NoteSkew(absl::Duration ahead, absl::Duration uncertainty);
  // Whether commits wait for a standby, and how many there are.
  void NoteStandbys(bool is_synchronous, int64_t standbys);

 private:
  bool is_skewed_ = false;
  bool has_been_synchronous_ = false;
  bool may_lose_ = false;
};

}  // namespace finetune
