#pragma once

#include <grpcpp/support/slice.h>

#include <optional>
#include <string>
#include <vector>

#include "segmind/finetune/v1/fine_tune.pb.h"

namespace finetune::bench {

// What a bare server answers: the items of a list, and a get of the first.
struct Jobs {
  std::vector<::segmind::finetune::v1::FineTune> listed;
  ::segmind::finetune::v1::FineTune got;

  // The listed ones as parts of a ListFineTunesResponse.
  std::vector<grpc::Slice> Items() const;
};

// So many jobs, copied from the gateway at `target` so that both answer the same, or made up if
// that is empty. Null if it does not answer, or has fewer.
std::optional<Jobs> JobsOf(const std::string& target, int count);

}  // namespace finetune::bench
