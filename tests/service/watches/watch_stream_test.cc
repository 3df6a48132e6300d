#include "server/service/watches/watch_stream.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/service/calls/call_queues.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

// WatchFineTunes and nothing else, for watches of all jobs.
class WatchService final
    : public pb::FineTuneService::WithRawMethod_WatchFineTunes<pb::FineTuneService::Service>,
      public WatchMethod {
 public:
  void Request(grpc::ServerContext& context, grpc::ByteBuffer& request,
               grpc::ServerAsyncWriter<grpc::ByteBuffer>& writer, grpc::CompletionQueue& queue,
               grpc::ServerCompletionQueue& arrivals, void* tag) override {
    RequestWatchFineTunes(&context, &request, &writer, &queue, &arrivals, tag);
  }

  absl::StatusOr<Look> Admit(grpc::ServerContext& context, const grpc::ByteBuffer& request,
                             WatchStreamDone& done, std::shared_ptr<LastingCall>&) override {
    done = [this](const absl::Status& status) {
      MutexLock lock(mu_);
      ended_.push_back(status.code());
      changed_.NotifyAll();
    };
    WatchSpec spec;
    spec.filter = *Filter::Parse("");
    pb::WatchFineTunesRequest parsed;
    grpc::ByteBuffer copy(request);
    EXPECT_TRUE(
        grpc::SerializationTraits<pb::WatchFineTunesRequest>::Deserialize(&copy, &parsed).ok());
    if (!parsed.resume_token().empty()) spec.resume = *DecodeResumeToken(parsed.resume_token());
    spec.fail_on_gap = parsed.gap_policy() == pb::WatchFineTunesRequest::FAIL;
    if (!parsed.filter().empty()) return absl::InvalidArgumentError("no filters here");
    return [this, spec] {
      ++looks_;
      return absl::StatusOr<WatchSpec>(spec);
    };
  }
  bool MayLag(const grpc::ServerContext&, const absl::StatusOr<WatchSpec>&) const override {
    return lags_;
  }
  void CatchUp(absl::AnyInvocable<void(absl::Status) &&> done) override {
    std::move(done)(caught_up_);
  }

  // What others committed is yet to be asked for, with that outcome.
  void Lag(absl::Status caught_up) {
    caught_up_ = std::move(caught_up);
    lags_ = true;
  }
  int looks() const { return looks_; }

  // How the first `count` streams ended.
  std::vector<absl::StatusCode> WaitForEnds(size_t count) {
    MutexLock lock(mu_);
    while (ended_.size() < count) changed_.Wait(mu_);
    return ended_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<absl::StatusCode> ended_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> lags_ = false;
  std::atomic<int> looks_ = 0;
  absl::Status caught_up_;
};

class WatchStreamTest : public testing::Test {
 protected:
  WatchStreamTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    call_queues_ = std::make_unique<CallQueues>(builder, 1);
    server_ = builder.BuildAndStart();
    AcceptWatch({service_, world_.hub, queues_, *call_queues_});
    call_queues_->Start();
    channel_ =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    stub_ = pb::FineTuneService::NewStub(channel_);
  }
  ~WatchStreamTest() override {
    std::promise<void> drained;
    world_.hub.Drain(absl::ZeroDuration(), absl::ZeroDuration(), [&] { drained.set_value(); });
    clock_.Advance(absl::Seconds(1));
    drained.get_future().wait();
    server_->Shutdown();
    call_queues_->Shutdown();
  }

  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<pb::WatchFineTunesResponse>> reader;

    std::string Next() {
      pb::WatchFineTunesResponse message;
      if (!reader->Read(&message)) return "END";
      token = message.resume_token();
      return Summary(message);
    }
    std::string token;
  };
  std::unique_ptr<Call> Watch(const pb::WatchFineTunesRequest& request = {}) {
    auto call = std::make_unique<Call>();
    call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    call->reader = stub_->WatchFineTunes(&call->context, request);
    return call;
  }

  WatchMemoryStore store_;
  ManualClock clock_;
  WatchQueues queues_{2};
  WatchWorld world_{store_, clock_, {}, {.window_changes = 100}, {}, queues_.waiters()};
  WatchService service_;
  std::unique_ptr<CallQueues> call_queues_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::FineTuneService::Stub> stub_;
};

TEST_F(WatchStreamTest, CarriesSnapshotSyncedChangesAndHeartbeats) {
  world_.Put("a", pb::FineTune::QUEUED);
  auto call = Watch();
  EXPECT_EQ(call->Next(), "SNAPSHOT a@1");
  EXPECT_EQ(call->Next(), "SYNCED@1");
  world_.Put("a", pb::FineTune::TRAINING);
  EXPECT_EQ(call->Next(), "UPDATED a@2");
  world_.hub.AwaitIdle();
  // The stream is idle, and the heartbeat due 15 s later, only once gRPC has told it that the write
  // is done: some time after the client has read it.
  std::atomic<bool> came = false;
  std::thread time([&] {
    while (!came) {
      clock_.Advance(absl::Seconds(15));
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(call->Next(), "HEARTBEAT@2");
  came = true;
  time.join();
  call->context.TryCancel();
  std::string last = call->Next();
  while (last == "HEARTBEAT@2") last = call->Next();
  EXPECT_EQ(last, "END");
  EXPECT_EQ(call->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(service_.WaitForEnds(1), ElementsAre(absl::StatusCode::kCancelled));
  EXPECT_EQ(world_.hub.watcher_count(), 0);
}

TEST_F(WatchStreamTest, EndsWithTheHubsErrorWhenItIsRefused) {
  for (int i = 0; i < 3; ++i) world_.Put("a", static_cast<pb::FineTune::State>(2 + i));
  pb::WatchFineTunesRequest request;
  request.set_resume_token(EncodeResumeToken({"elsewhere", 7, 1}));
  request.set_gap_policy(pb::WatchFineTunesRequest::FAIL);
  auto call = Watch(request);
  EXPECT_EQ(call->Next(), "END");
  const grpc::Status status = call->reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_NE(status.error_details().find("RESUME_TOKEN_EXPIRED"), std::string::npos);
  EXPECT_THAT(service_.WaitForEnds(1), ElementsAre(absl::StatusCode::kOutOfRange));
}

TEST_F(WatchStreamTest, EndsWithTheRefusalOfItsMethod) {
  pb::WatchFineTunesRequest request;
  request.set_filter("state = TRAINING");
  auto call = Watch(request);
  EXPECT_EQ(call->Next(), "END");
  EXPECT_EQ(call->reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(service_.WaitForEnds(1), ElementsAre(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(world_.hub.watcher_count(), 0);
}

TEST_F(WatchStreamTest, LooksAgainOnceItHasCaughtUpWithOtherProcesses) {
  world_.Put("a", pb::FineTune::QUEUED);
  service_.Lag(absl::OkStatus());
  auto call = Watch();
  EXPECT_EQ(call->Next(), "SNAPSHOT a@1");
  EXPECT_EQ(service_.looks(), 2);
  service_.Lag(absl::UnavailableError("the database is away"));
  auto refused = Watch();
  EXPECT_EQ(refused->Next(), "END");
  EXPECT_EQ(refused->reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  call->context.TryCancel();
}

TEST_F(WatchStreamTest, EndsWhatWasThereWhenTheRecordIsLoadedAnew) {
  auto call = Watch();
  EXPECT_EQ(call->Next(), "SYNCED@0");
  world_.hub.OnReloading();
  world_.hub.OnReloaded();
  EXPECT_EQ(call->Next(), "END");
  const grpc::Status status = call->reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_details().find("RetryInfo"), std::string::npos);
  auto again = Watch();
  EXPECT_EQ(again->Next(), "SYNCED@0");
  world_.Put("a", pb::FineTune::QUEUED);
  EXPECT_EQ(again->Next(), "CREATED a@1");
  again->context.TryCancel();
}

TEST_F(WatchStreamTest, SaysUnavailableWithRetryInfoAfterAHeartbeatWhenTheServerDrains) {
  auto call = Watch();
  EXPECT_EQ(call->Next(), "SYNCED@0");
  world_.Put("a", pb::FineTune::QUEUED);
  EXPECT_EQ(call->Next(), "CREATED a@1");
  world_.hub.AwaitIdle();
  std::promise<void> drained;
  world_.hub.Drain(absl::Seconds(1), absl::Seconds(1), [&] { drained.set_value(); });
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(call->Next(), "HEARTBEAT@1");
  EXPECT_EQ(call->Next(), "END");
  const grpc::Status status = call->reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_details().find("google.rpc.RetryInfo"), std::string::npos);
  drained.get_future().wait();
}

TEST_F(WatchStreamTest, ResumesWhereTheLastStreamEnded) {
  auto first = Watch();
  EXPECT_EQ(first->Next(), "SYNCED@0");
  world_.Put("a", pb::FineTune::QUEUED);
  EXPECT_EQ(first->Next(), "CREATED a@1");
  first->context.TryCancel();
  service_.WaitForEnds(1);
  world_.Put("a", pb::FineTune::TRAINING);
  pb::WatchFineTunesRequest request;
  request.set_resume_token(first->token);
  auto second = Watch(request);
  EXPECT_EQ(second->Next(), "UPDATED a@2");
  EXPECT_EQ(second->Next(), "HEARTBEAT@2");
  second->context.TryCancel();
}

// A client that reads nothing until flow control stops the server, and one that reads all.
TEST_F(WatchStreamTest, GivesAClientThatStoppedReadingTheLatestStateLater) {
  auto stopped = Watch();
  auto reader = Watch();
  EXPECT_EQ(reader->Next(), "SYNCED@0");
  const std::string weight(200'000, 'w');
  uint64_t last = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(world_
                    .Commit([&](Draft& draft) {
                      auto record = WatchWorld::RecordOf("a", pb::FineTune::TRAINING, "x");
                      record.mutable_fine_tune()->set_instance_prompt(absl::StrCat(i, weight));
                      draft.Put(record);
                    })
                    .ok());
    last = world_.catalog.view()->revision();
    EXPECT_EQ(reader->Next(), absl::StrCat(i == 0 ? "CREATED" : "UPDATED", " a@", last));
  }
  int read = 0;
  std::string message;
  do {
    message = stopped->Next();
    ++read;
  } while (message != absl::StrCat("UPDATED a@", last) && message != "END");
  EXPECT_NE(message, "END");
  EXPECT_LT(read, 60);
  stopped->context.TryCancel();
  reader->context.TryCancel();
}

TEST_F(WatchStreamTest, SurvivesClientsThatComeAndGoWhileJobsChange) {
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) {
      world_.Put(std::string(1, static_cast<char>('a' + i % 5)),
                 i % 2 == 0 ? pb::FineTune::QUEUED : pb::FineTune::TRAINING);
    }
  });
  constexpr int kThreads = 4;
  constexpr int kCalls = 40;
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      pb::WatchFineTunesRequest request;
      uint64_t revision = 0;
      for (int i = 0; i < kCalls; ++i) {
        auto call = Watch(request);
        pb::WatchFineTunesResponse message;
        for (int n = 0; n <= (t * 7 + i) % 12 && call->reader->Read(&message); ++n) {
          if (message.has_restart()) revision = 0;
          if (message.resume_token().empty()) continue;
          if (message.has_change()) {
            EXPECT_GT(message.revision(), revision);
          } else {
            EXPECT_GE(message.revision(), revision);
          }
          revision = message.revision();
          request.set_resume_token(message.resume_token());
        }
        call->context.TryCancel();
        while (call->reader->Read(&message)) {
        }
        EXPECT_EQ(call->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  stop = true;
  writer.join();
  service_.WaitForEnds(kThreads * kCalls);
  EXPECT_EQ(world_.hub.watcher_count(), 0);
}

}  // namespace
}  // namespace finetune
