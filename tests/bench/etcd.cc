#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>

#include "server/jobs/record/wire.h"
#include "tests/bench/changes.h"
#include "tests/bench/peers.h"
#include "tests/bench/process.h"
#include "tests/bench/raw_streams.h"

namespace finetune::bench {
namespace {

// Of etcd's messages, those fields that are needed here, by their numbers.
enum PutRequest : uint32_t { kPutKey = 1, kPutValue = 2 };
enum WatchRequest : uint32_t { kCreateRequest = 1 };
enum WatchCreateRequest : uint32_t { kWatchKey = 1 };
enum WatchResponse : uint32_t { kHeader = 1, kCreated = 3, kEvents = 11 };
enum ResponseHeader : uint32_t { kHeaderRevision = 3 };

std::string BytesField(uint32_t field, std::string_view bytes) {
  std::string out;
  AppendTag(out, field, 2);
  AppendVarint(out, bytes.size());
  return out.append(bytes);
}

Reading ReadEtcdResponse(std::string_view message) {
  Reading reading;
  WireReader fields(message);
  while (fields.Next()) {
    if (fields.field() == kCreated && fields.number() != 0) {
      reading.what = Reading::What::kReady;
    } else if (fields.field() == kEvents) {
      reading.what = Reading::What::kChange;
    } else if (fields.field() == kHeader) {
      WireReader header(fields.bytes());
      while (header.Next()) {
        if (header.field() == kHeaderRevision) reading.revision = header.number();
      }
    }
  }
  return reading;
}

class Putter {
 public:
  explicit Putter(const PeerOptions& options)
      : options_(options), stub_(OwnChannel(options.target, -1)) {}

  std::optional<int64_t> Put(int change) {
    // Never twice the same, and always as long.
    std::string value(options_.value_bytes, 'v');
    value.replace(0, 7, std::to_string(1'000'000 + change));
    const grpc::ByteBuffer request =
        ToBytes(BytesField(kPutKey, options_.key) + BytesField(kPutValue, value));
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    std::mutex mu;
    std::condition_variable done;
    std::optional<grpc::Status> status;
    const int64_t start = NowNanoseconds();
    stub_.UnaryCall(&context, "/etcdserverpb.KV/Put", {}, &request, &response, [&](grpc::Status s) {
      std::lock_guard lock(mu);
      status = std::move(s);
      done.notify_all();
    });
    std::unique_lock lock(mu);
    done.wait(lock, [&] { return status.has_value(); });
    if (status->ok()) return start;
    std::cerr << "etcd did not put: " << status->error_message() << "\n";
    return std::nullopt;
  }

 private:
  const PeerOptions& options_;
  grpc::GenericStub stub_;
};

}  // namespace

bool RunEtcd(const PeerOptions& options) {
  const ChangesOptions changes{options.pid, options.subscriptions, options.subscriptions,
                               options.changes};
  Receipts receipts(options.subscriptions);
  Putter putter(options);
  const MakeChange make = [&](int change) { return putter.Put(change); };
  const std::vector<double> alone = MakeAlone(make, options.changes);
  const int64_t memory_before = ResidentBytes(options.pid);
  const auto streams = (options.frames ? MakeFrameStreams : MakeGrpcStreams)(
      options.target, options.connections, receipts);
  StreamPlan plan;
  plan.method = "/etcdserverpb.Watch/Watch";
  plan.half_close = false;  // Which would end the watches.
  plan.read = ReadEtcdResponse;
  plan.subscriptions = options.per_stream;
  for (int i = 0; i < options.per_stream; ++i) {
    plan.requests.push_back(BytesField(kCreateRequest, BytesField(kWatchKey, options.key)));
  }
  for (int i = 0; i < options.subscriptions; i += options.per_stream) streams->Open(plan);
  if (!receipts.AwaitReady(options.subscriptions)) {
    std::cerr << "not all watches were created\n";
    return false;
  }
  const auto memory = static_cast<double>(ResidentBytes(options.pid) - memory_before);
  ChangesResult result = MeasureChanges(changes, receipts, make);
  result.made_alone = alone;
  result.bytes_per_receiver = memory / options.subscriptions;
  std::cout << ToJson(changes, receipts, result) << std::endl;
  return result.complete;
}

}  // namespace finetune::bench
