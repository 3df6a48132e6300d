#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"

namespace finetune::bench {

// Changes a job at the gateway (or at the bare server), each time to another version of the same
// size: a label, by UpdateFineTune.
class Labeller {
 public:
  Labeller(const std::string& target, std::string job);

  // When the call began (NowNanoseconds); nullopt, with a line on standard error, if it failed.
  std::optional<int64_t> Change();

 private:
  const std::unique_ptr<segmind::finetune::v1::FineTuneService::Stub> stub_;
  const std::string job_;
  int made_ = 0;
};

}  // namespace finetune::bench
