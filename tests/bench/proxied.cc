#include "tests/bench/proxied.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/uuid.h"
#include "tests/bench/process.h"
#include "tests/bench/upstream_call.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

constexpr char kDataset[] = "https://datasets.example/cats.zip";

// Makes the n-th call and waits for its answer. False, and a word on stderr, if it failed.
using Caller = std::function<bool(int n)>;

Caller OverHttp(const ProxiedOptions& options) {
  auto handle = std::make_shared<UpstreamHandle>(options.target, options.headers);
  return [handle, kind = options.call](int n) {
    const UpstreamCall call = kind == "status"   ? ListCall()
                              : kind == "create" ? SubmitCall(absl::StrCat("cats-", n), kDataset)
                                                 : UploadUrlCall(absl::StrCat("cats-", n));
    if (curl_easy_perform(handle->Prepare(call)) == CURLE_OK && handle->code() == 200 &&
        handle->body().size() > 2)
      return true;
    std::cerr << "HTTP " << handle->code() << ": " << handle->body() << "\n";
    return false;
  };
}

// One call at a time, waited for by the thread that makes it: the client adds as little as it can.
class GrpcCaller {
 public:
  explicit GrpcCaller(const ProxiedOptions& options)
      : options_(options),
        stub_(grpc::CreateChannel(options.target, grpc::InsecureChannelCredentials())) {}

  bool Call(int n) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    grpc::ByteBuffer request = RequestOf(n), response;
    grpc::Status status;
    auto call = stub_.PrepareUnaryCall(&context, Method(), request, &queue_);
    call->StartCall();
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    if (status.ok() && response.Length() > 2) return true;
    std::cerr << status.error_code() << ": " << status.error_message() << "\n";
    return false;
  }

 private:
  std::string Method() const {
    const char* const name = options_.call == "status"   ? "GetFineTune"
                             : options_.call == "create" ? "CreateFineTune"
                                                         : "CreateUploadUrl";
    return absl::StrCat("/segmind.finetune.v1.FineTuneService/", name);
  }

  grpc::ByteBuffer RequestOf(int n) const {
    std::string bytes;
    if (options_.call == "status") {
      pb::GetFineTuneRequest request;
      request.set_name(options_.job);
      request.mutable_freshness()->mutable_max_staleness();
      bytes = request.SerializeAsString();
    } else if (options_.call == "create") {
      pb::CreateFineTuneRequest request;
      request.set_request_id(MakeUuid());
      request.mutable_fine_tune()->set_display_name(absl::StrCat("cats-", n));
      request.mutable_fine_tune()->set_data_source_uri(kDataset);
      request.mutable_fine_tune()->set_instance_prompt("a photo of TOK cat");
      request.mutable_fine_tune()->set_trigger_word("TOK");
      request.mutable_fine_tune()->set_base_model("FAST_FLUX");
      request.mutable_fine_tune()->set_theme("subject");
      bytes = request.SerializeAsString();
    } else {
      pb::CreateUploadUrlRequest request;
      request.set_file_name(absl::StrCat("cats-", n, ".zip"));
      request.set_public_read(true);
      bytes = request.SerializeAsString();
    }
    const grpc::Slice slice(bytes);
    return grpc::ByteBuffer(&slice, 1);
  }

  const ProxiedOptions options_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
};

double Percentile(const std::vector<double>& sorted, double percent) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(percent / 100 * sorted.size()))];
}

}  // namespace

bool RunProxied(const ProxiedOptions& options) {
  Caller call;
  if (absl::StartsWith(options.target, "http")) {
    call = OverHttp(options);
  } else {
    call = [caller = std::make_shared<GrpcCaller>(options)](int n) { return caller->Call(n); };
  }
  std::vector<double> microseconds;
  const double own_before = CpuSeconds(getpid());
  for (int n = 0; n < options.warm_up + options.calls; ++n) {
    const int64_t start = NowNanoseconds();
    if (!call(n)) return false;
    if (n >= options.warm_up)
      microseconds.push_back(static_cast<double>(NowNanoseconds() - start) / 1e3);
  }
  std::sort(microseconds.begin(), microseconds.end());
  std::cout
      << absl::StrFormat(
             R"({"call": "%s", "calls": %d, "p50_us": %.1f, "p90_us": %.1f, "p99_us": %.1f, "p999_us": %.1f, "own_cpu_s": %.2f})",
             options.call, options.calls, Percentile(microseconds, 50),
             Percentile(microseconds, 90), Percentile(microseconds, 99),
             Percentile(microseconds, 99.9), CpuSeconds(getpid()) - own_before)
      << std::endl;
  return true;
}

}  // namespace finetune::bench
