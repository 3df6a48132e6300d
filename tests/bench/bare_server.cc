// The alternatives that the gateway is measured against, as one server of the same protos: what
// gRPC itself costs.
//   --mode ready   get and list answer ready bytes, sharing slices: the floor
//   --mode typed   get and list fill and serialise messages: what one writes by hand
// Watches are a bare broadcast: UpdateFineTune sends the same ready bytes to every stream, from
// --threads threads, in --order connection (all streams of a connection together) or spread (round
// robin over the connections). Jobs are made up, or copied from the gateway that it is compared
// with (--copy-from), so that both answer the same. Prints its port. For measurements only: it
// checks nothing and keeps nothing.
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>
#include <latch>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/bare_jobs.h"
#include "tests/bench/loopback.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

// Makes the message as long as those that it is compared with.
void PadTo(size_t bytes, pb::WatchFineTunesResponse& message) {
  std::string& text = *message.mutable_change()->mutable_fine_tune()->mutable_display_name();
  while (message.ByteSizeLong() < bytes) text.push_back('x');
}

grpc::ByteBuffer Bytes(const std::string& text) {
  grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

class Stream;

// Streams by connection. Thread-safe.
class Broadcast {
 public:
  Broadcast(int threads, std::string order) : threads_(threads), order_(std::move(order)) {}
  void Add(const std::string& peer, Stream* stream) {
    std::lock_guard lock(mu_);
    streams_[peer].push_back(stream);
  }
  void Remove(const std::string& peer, Stream* stream) {
    std::lock_guard lock(mu_);
    streams_[peer].remove(stream);
  }
  void Send(const grpc::ByteBuffer& bytes);

 private:
  std::vector<Stream*> Ordered();

  const int threads_;
  const std::string order_;
  std::mutex mu_;
  std::map<std::string, std::list<Stream*>> streams_;
};

class Stream : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  Stream(Broadcast& broadcast, std::string peer, grpc::ByteBuffer synced)
      : broadcast_(broadcast), peer_(std::move(peer)), synced_(std::move(synced)) {
    broadcast_.Add(peer_, this);
    StartWrite(&synced_);
  }
  // At most one message while another is under way: the client has that one then, and gRPC is about
  // to say so.
  void Send(const grpc::ByteBuffer* bytes) {
    next_ = bytes;
    if (to_send_.fetch_add(1) == 0) StartWrite(bytes);
  }
  void OnWriteDone(bool ok) override {
    if (ok && to_send_.fetch_sub(1) > 1) StartWrite(next_);
  }
  void OnCancel() override {
    broadcast_.Remove(peer_, this);
    Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  Broadcast& broadcast_;
  const std::string peer_;
  const grpc::ByteBuffer synced_;
  const grpc::ByteBuffer* next_ = nullptr;
  std::atomic<int> to_send_{1};
};

std::vector<Stream*> Broadcast::Ordered() {
  std::vector<Stream*> ordered;
  std::lock_guard lock(mu_);
  if (order_ != "spread") {
    for (auto& [peer, streams] : streams_)
      ordered.insert(ordered.end(), streams.begin(), streams.end());
    return ordered;
  }
  std::vector<std::pair<std::list<Stream*>::iterator, std::list<Stream*>::iterator>> cursors;
  for (auto& [peer, streams] : streams_) cursors.emplace_back(streams.begin(), streams.end());
  for (bool more = true; more;) {
    more = false;
    for (auto& [at, end] : cursors) {
      if (at == end) continue;
      ordered.push_back(*at++);
      more = true;
    }
  }
  return ordered;
}

void Broadcast::Send(const grpc::ByteBuffer& bytes) {
  const std::vector<Stream*> ordered = Ordered();
  std::vector<std::thread> threads;
  // Contiguous parts keep a connection's streams on one thread; a stride lets the threads meet on
  // it.
  const bool parts = order_ == "connection";
  for (int t = 0; t < threads_; ++t) {
    threads.emplace_back([&, t] {
      const size_t from = parts ? ordered.size() * t / threads_ : t;
      const size_t to = parts ? ordered.size() * (t + 1) / threads_ : ordered.size();
      for (size_t i = from; i < to; i += parts ? 1 : threads_) ordered[i]->Send(&bytes);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

using Service = pb::FineTuneService::WithRawCallbackMethod_GetFineTune<
    pb::FineTuneService::WithRawCallbackMethod_ListFineTunes<
        pb::FineTuneService::WithRawCallbackMethod_WatchFineTunes<
            pb::FineTuneService::WithCallbackMethod_UpdateFineTune<pb::FineTuneService::Service>>>>;

class BareServer : public Service {
 public:
  BareServer(Jobs jobs, bool typed, size_t change_bytes, int threads, const std::string& order)
      : typed_(typed),
        change_bytes_(change_bytes),
        broadcast_(threads, order),
        jobs_(std::move(jobs)),
        items_(jobs_.Items()),
        got_(jobs_.got.SerializeAsString()) {
    pb::WatchFineTunesResponse synced;
    synced.mutable_synced();
    synced_ = Bytes(synced.SerializeAsString());
  }

  grpc::ServerUnaryReactor* GetFineTune(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override {
    if (typed_) {
      pb::GetFineTuneRequest parsed;
      grpc::ByteBuffer copy = *request;
      grpc::SerializationTraits<pb::GetFineTuneRequest>::Deserialize(&copy, &parsed);
      const pb::FineTune answer = jobs_.got;
      bool own;
      grpc::SerializationTraits<pb::FineTune>::Serialize(answer, response, &own);
    } else {
      *response = grpc::ByteBuffer(&got_, 1);
    }
    return Done(context);
  }

  grpc::ServerUnaryReactor* ListFineTunes(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override {
    pb::ListFineTunesRequest parsed;
    grpc::ByteBuffer copy = *request;
    grpc::SerializationTraits<pb::ListFineTunesRequest>::Deserialize(&copy, &parsed);
    const size_t count = std::min<size_t>(parsed.page_size(), items_.size());
    if (typed_) {
      pb::ListFineTunesResponse answer;
      for (size_t i = 0; i < count; ++i) answer.add_fine_tunes()->CopyFrom(jobs_.listed[i]);
      bool own;
      grpc::SerializationTraits<pb::ListFineTunesResponse>::Serialize(answer, response, &own);
    } else {
      *response = grpc::ByteBuffer(items_.data(), count);
    }
    return Done(context);
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchFineTunes(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override {
    return new Stream(broadcast_, context->peer(), synced_);
  }

  grpc::ServerUnaryReactor* UpdateFineTune(grpc::CallbackServerContext* context,
                                           const pb::UpdateFineTuneRequest* request,
                                           pb::FineTune* response) override {
    *response = jobs_.got;
    response->mutable_labels()->insert(request->fine_tune().labels().begin(),
                                       request->fine_tune().labels().end());
    pb::WatchFineTunesResponse change;
    change.mutable_change()->set_type(pb::Change::UPDATED);
    *change.mutable_change()->mutable_fine_tune() = *response;
    change.set_resume_token(std::string(32, 't'));
    change.set_revision(++revision_);
    PadTo(change_bytes_, change);
    // Kept: writes that are under way point into it.
    sent_.push_back(Bytes(change.SerializeAsString()));
    broadcast_.Send(sent_.back());
    return Done(context);
  }

 private:
  static grpc::ServerUnaryReactor* Done(grpc::CallbackServerContext* context) {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  const bool typed_;
  const size_t change_bytes_;
  Broadcast broadcast_;
  const Jobs jobs_;
  const std::vector<grpc::Slice> items_;
  const grpc::Slice got_;
  grpc::ByteBuffer synced_;
  std::list<grpc::ByteBuffer> sent_;
  uint64_t revision_ = 0;
};

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  std::string mode = "ready", order = "connection", copy_from;
  int jobs = 1000, threads = 1;
  size_t change_bytes = 0;
  CLI::App app("Bare gRPC server for comparisons");
  app.add_option("--mode", mode)->check(CLI::IsMember({"ready", "typed"}));
  app.add_option("--jobs", jobs);
  app.add_option("--change-bytes", change_bytes, "The size of a change sent to watchers, at least");
  app.add_option("--copy-from", copy_from, "HOST:PORT of a gateway with as many jobs");
  app.add_option("--threads", threads);
  app.add_option("--order", order)->check(CLI::IsMember({"connection", "together", "spread"}));
  CLI11_PARSE(app, argc, argv);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::optional<finetune::bench::Jobs> known = finetune::bench::JobsOf(copy_from, jobs);
  if (!known) {
    std::cerr << "no " << jobs << " jobs at " << copy_from << "\n";
    return 1;
  }
  finetune::bench::BareServer service(*known, mode == "typed", change_bytes, threads, order);
  grpc::ServerBuilder builder;
  finetune::bench::SetAsTheGateway(builder);
  finetune::bench::Serve(builder, service);
}
