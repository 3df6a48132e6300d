#pragma once

#include "server/segmind/segmind_client.h"

namespace finetune {

// An API key that never changes.
class FixedKey : public ApiKeySource {
 public:
  absl::StatusOr<Secret> Get() override { return Secret("test-key"); }
  bool Reread(const Secret&) override { return false; }
};

}  // namespace finetune
