#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace finetune {

// Logs what operators should know about the database and this machine's clock, once each time that
// it changes. Not thread-safe.
class FleetDangers {
 public:
  // How far this machine's time of day is ahead of the database's, give or take `uncertainty`.
  void NoteSkew(absl::Duration ahead, absl::Duration uncertainty);
  // Whether commits wait for a standby, and how many there are.
  void NoteStandbys(bool is_synchronous, int64_t standbys);

 private:
  bool is_skewed_ = false;
  bool has_been_synchronous_ = false;
  bool may_lose_ = false;
};

}  // namespace finetune
