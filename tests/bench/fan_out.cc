#include "tests/bench/fan_out.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>

#include "absl/strings/str_format.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

// What all streams report to.
struct Board {
  std::mutex mu;
  std::condition_variable changed;
  int synced = 0;
  int ended = 0;
  int received = 0;  // Of the change under way.
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  std::vector<int64_t> times;
  std::atomic<int64_t> wrong{0};  // Out of order or twice.
};

class Stream : public grpc::ClientReadReactor<pb::WatchFineTunesResponse> {
 public:
  Stream(pb::FineTuneService::Stub* stub, Board& board) : board_(board) {
    stub->async()->WatchFineTunes(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const int64_t now = NowNanoseconds();
    if (response_.has_synced()) {
      std::lock_guard lock(board_.mu);
      if (!std::exchange(synced_, true)) ++board_.synced;
      board_.changed.notify_all();
    } else if (response_.has_change() && synced_) {
      if (response_.revision() <= revision_) ++board_.wrong;
      revision_ = response_.revision();
      std::lock_guard lock(board_.mu);
      board_.times.push_back(now);
      ++board_.received;
      board_.changed.notify_all();
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    std::lock_guard lock(board_.mu);
    ++board_.ended;
    board_.changed.notify_all();
  }

  void Cancel() { context_.TryCancel(); }

 private:
  Board& board_;
  grpc::ClientContext context_;
  pb::WatchFineTunesRequest request_;
  pb::WatchFineTunesResponse response_;
  bool synced_ = false;
  uint64_t revision_ = 0;
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

std::shared_ptr<grpc::Channel> OwnChannel(const std::string& target, int i) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt("connection", i);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

bool RunFanOut(const FanOutOptions& options) {
  Board board;
  std::vector<std::unique_ptr<pb::FineTuneService::Stub>> stubs;
  for (int i = 0; i < options.connections; ++i) {
    stubs.push_back(pb::FineTuneService::NewStub(OwnChannel(options.target, i)));
  }
  const int64_t memory_before = ResidentBytes(options.pid);
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < options.streams; ++i) {
    streams.push_back(std::make_unique<Stream>(stubs[i % stubs.size()].get(), board));
  }
  {
    std::unique_lock lock(board.mu);
    if (!board.changed.wait_for(lock, std::chrono::seconds(120),
                                [&] { return board.synced + board.ended >= options.streams; }) ||
        board.ended > 0) {
      std::cerr << "only " << board.synced << " streams synced, " << board.ended << " ended\n";
      return false;
    }
  }
  const int64_t memory_after = ResidentBytes(options.pid);

  std::vector<double> firsts, medians, lasts;
  double cpu = 0;
  auto writer = pb::FineTuneService::NewStub(OwnChannel(options.target, -1));
  bool complete = true;
  for (int change = 0; change < options.changes && complete; ++change) {
    {
      std::lock_guard lock(board.mu);
      board.received = 0;
      board.times.clear();
      board.times.reserve(options.streams);
    }
    pb::UpdateFineTuneRequest request;
    request.mutable_fine_tune()->set_name(options.job);
    (*request.mutable_fine_tune()->mutable_labels())["change"] = std::to_string(change);
    request.mutable_update_mask()->add_paths("labels");
    grpc::ClientContext context;
    pb::FineTune response;
    const double cpu_before = CpuSeconds(options.pid);
    const int64_t start = NowNanoseconds();
    const grpc::Status status = writer->UpdateFineTune(&context, request, &response);
    if (!status.ok()) {
      std::cerr << "the change failed: " << status.error_message() << "\n";
      return false;
    }
    std::unique_lock lock(board.mu);
    complete = board.changed.wait_for(lock, std::chrono::seconds(60),
                                      [&] { return board.received >= options.streams; });
    cpu += CpuSeconds(options.pid) - cpu_before;
    std::sort(board.times.begin(), board.times.end());
    firsts.push_back(static_cast<double>(board.times.front() - start) / 1e6);
    medians.push_back(static_cast<double>(board.times[board.times.size() / 2] - start) / 1e6);
    lasts.push_back(static_cast<double>(board.times.back() - start) / 1e6);
  }
  std::cout
      << absl::StrFormat(
             R"({"streams": %d, "connections": %d, "changes": %d, "first_ms": %.3f, "median_ms": %.3f, "last_ms": %.3f, )"
             R"("last_worst_ms": %.3f, "cpu_us_per_delivery": %.3f, "bytes_per_stream": %d, "wrong": %d, "complete": %s})",
             options.streams, options.connections, options.changes, Median(firsts), Median(medians),
             Median(lasts), *std::max_element(lasts.begin(), lasts.end()),
             cpu * 1e6 / options.changes / options.streams,
             (memory_after - memory_before) / options.streams, board.wrong.load(),
             complete ? "true" : "false")
      << std::endl;
  for (auto& stream : streams) stream->Cancel();
  std::unique_lock lock(board.mu);
  board.changed.wait_for(lock, std::chrono::seconds(60),
                         [&] { return board.ended >= options.streams; });
  return complete && board.wrong == 0;
}

}  // namespace finetune::bench
