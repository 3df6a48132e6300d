#include "tests/bench/calls.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "tests/bench/histogram.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// Empty for no file.
std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const CallsOptions& options) {
  if (options.tls_ca_file.empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({ReadFile(options.tls_ca_file), ReadFile(options.tls_key_file),
                               ReadFile(options.tls_cert_file)});
}

// Raw calls, so that the generator does not parse what it measures; the first answer is parsed and
// the others must be as long.
class Generator {
 public:
  explicit Generator(const CallsOptions& options) : options_(options) {
    for (int i = 0; i < options.connections; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt("connection", i);
      arguments.SetMaxReceiveMessageSize(-1);
      stubs_.push_back(std::make_unique<grpc::GenericStub>(
          grpc::CreateCustomChannel(options.target, CredentialsOf(options), arguments)));
    }
    if (!options.token_file.empty()) authorization_ = "Bearer " + ReadFile(options.token_file);
    if (options.call == "get") {
      method_ = "/segmind.finetune.v1.FineTuneService/GetFineTune";
      pb::GetFineTuneRequest request;
      request.set_name(options.job);
      request_ = ToBytes(request);
    } else if (options.call == "status") {
      method_ = "/segmind.finetune.v1.FineTuneService/GetGatewayStatus";
      request_ = ToBytes(pb::GetGatewayStatusRequest());
    } else {
      method_ = "/segmind.finetune.v1.FineTuneService/ListFineTunes";
      pb::ListFineTunesRequest request;
      request.set_page_size(options.page_size);
      request_ = ToBytes(request);
    }
  }

  bool Run() {
    if (!CheckOne()) return false;
    const double cpu_before = CpuSeconds(options_.pid);
    const double own_before = CpuSeconds(getpid());
    const int64_t start = NowNanoseconds();
    end_ = start + static_cast<int64_t>(options_.seconds * 1e9);
    if (options_.rate > 0) {
      OpenLoop(start);
    } else {
      for (int i = 0; i < options_.outstanding; ++i) Begin(NowNanoseconds());
    }
    {
      std::unique_lock lock(mu_);
      done_.wait(lock, [&] { return out_ == 0 && NowNanoseconds() >= end_; });
    }
    const double seconds = static_cast<double>(NowNanoseconds() - start) / 1e9;
    const double cpu = CpuSeconds(options_.pid) - cpu_before;
    const auto calls = static_cast<double>(histogram_.count());
    std::cout
        << absl::StrFormat(
               R"({"call": "%s", "calls": %.0f, "calls_per_s": %.1f, "cpu_us_per_call": %.2f, "p50_ms": %.4f, "p99_ms": %.4f, )"
               R"("p999_ms": %.4f, "errors": %d, "late": %d, "own_cpu": %.2f, "answer_bytes": %d})",
               options_.call, calls, calls / seconds, cpu * 1e6 / std::max(calls, 1.0),
               histogram_.Percentile(50), histogram_.Percentile(99), histogram_.Percentile(99.9),
               errors_, late_, (CpuSeconds(getpid()) - own_before) / seconds, answer_bytes_)
        << std::endl;
    return errors_ == 0;
  }

 private:
  struct Call {
    explicit Call(const std::string& authorization) {
      if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    }
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    int64_t scheduled = 0;
  };

  bool CheckOne() {
    Call call(authorization_);
    std::mutex mu;
    std::condition_variable cv;
    std::optional<grpc::Status> status;
    stubs_[0]->UnaryCall(&call.context, method_, {}, &request_, &call.response,
                         [&](grpc::Status s) {
                           std::lock_guard lock(mu);
                           status = s;
                           cv.notify_all();
                         });
    std::unique_lock lock(mu);
    cv.wait(lock, [&] { return status.has_value(); });
    answer_bytes_ = call.response.Length();
    size_t items = 0;
    if (status->ok() && options_.call == "list") {
      pb::ListFineTunesResponse parsed;
      grpc::SerializationTraits<pb::ListFineTunesResponse>::Deserialize(&call.response, &parsed);
      items = parsed.fine_tunes_size();
    }
    if (status->ok() && (options_.expect_items == 0 || items == options_.expect_items)) return true;
    std::cerr << "a first call failed: " << status->error_message() << ", " << items << " items\n";
    return false;
  }

  void OpenLoop(int64_t start) {
    const double step = 1e9 / options_.rate;
    for (int64_t i = 0;; ++i) {
      const int64_t scheduled = start + static_cast<int64_t>(step * static_cast<double>(i));
      if (scheduled >= end_) return;
      while (NowNanoseconds() < scheduled) {
        if (scheduled - NowNanoseconds() > 100'000)
          std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      if (NowNanoseconds() - scheduled > 5'000'000) ++late_;
      Begin(scheduled);
    }
  }

  void Begin(int64_t scheduled) {
    {
      std::lock_guard lock(mu_);
      ++out_;
    }
    auto* call = new Call(authorization_);
    call->scheduled = scheduled;
    stubs_[next_++ % stubs_.size()]->UnaryCall(
        &call->context, method_, {}, &request_, &call->response,
        [this, call](grpc::Status status) { End(call, status); });
  }

  void End(Call* call, const grpc::Status& status) {
    const int64_t now = NowNanoseconds();
    const bool good =
        status.ok() && (options_.call == "status" || call->response.Length() + 64 >= answer_bytes_);
    const int64_t took = now - call->scheduled;
    delete call;
    const bool again = options_.rate == 0 && now < end_;
    {
      std::lock_guard lock(mu_);
      histogram_.Add(took);
      if (!good) ++errors_;
      --out_;
      if (out_ == 0) done_.notify_all();
    }
    if (again) Begin(now);
  }

  const CallsOptions options_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::string method_;
  std::string authorization_;
  grpc::ByteBuffer request_;
  size_t answer_bytes_ = 0;
  int64_t end_ = 0;
  std::atomic<size_t> next_{0};
  int64_t late_ = 0;

  std::mutex mu_;
  std::condition_variable done_;
  Histogram histogram_;
  int64_t errors_ = 0;
  int out_ = 0;
};

}  // namespace

bool RunCalls(const CallsOptions& options) { return Generator(options).Run(); }

}  // namespace finetune::bench
