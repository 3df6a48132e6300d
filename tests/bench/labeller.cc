#include "tests/bench/labeller.h"

#include <grpcpp/grpcpp.h>

#include <iostream>
#include <utility>

#include "tests/bench/process.h"
#include "tests/bench/raw_streams.h"

namespace finetune::bench {

namespace pb = ::segmind::finetune::v1;

Labeller::Labeller(const std::string& target, std::string job)
    : stub_(pb::FineTuneService::NewStub(OwnChannel(target, -1))), job_(std::move(job)) {}

std::optional<int64_t> Labeller::Change() {
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_name(job_);
  (*request.mutable_fine_tune()->mutable_labels())["change"] = std::to_string(1'000'000 + ++made_);
  request.mutable_update_mask()->add_paths("labels.change");
  grpc::ClientContext context;
  pb::FineTune response;
  const int64_t start = NowNanoseconds();
  const grpc::Status status = stub_->UpdateFineTune(&context, request, &response);
  if (status.ok()) return start;
  std::cerr << "the change failed: " << status.error_message() << "\n";
  return std::nullopt;
}

}  // namespace finetune::bench
