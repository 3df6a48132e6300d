#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <vector>

#include "tests/service/service_world.h"

namespace finetune {
namespace {

// One caller, mallory, does her worst; alice calls as always.
class FairCallers : public ::testing::Test {
 protected:
  // A call whose client does nothing but wait.
  template <typename Request, typename Response>
  struct Open {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
    Response response;
    grpc::Status status;
    bool ended = false;
  };
  using OpenWait = Open<pb::WaitFineTuneRequest, pb::WaitFineTuneResponse>;
  using OpenList = Open<pb::ListFineTunesRequest, pb::ListFineTunesResponse>;

  ~FairCallers() override {
    for (auto& wait : waits_) wait->context->TryCancel();
    for (auto& list : lists_) list->context->TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) continue;
  }

  void Start(CallGate::Options options) {
    world_ = std::make_unique<ServiceWorld>(options);
    grpc::ChannelArguments small_windows;
    small_windows.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", world_->server->port()),
                                         grpc::InsecureChannelCredentials(), small_windows);
    stub_ = pb::FineTuneService::NewStub(channel_);
  }

  void Wait(const std::string& who) {
    auto wait = std::make_unique<OpenWait>();
    wait->context = Context(who);
    pb::WaitFineTuneRequest request;
    request.set_name("fineTunes/a");
    wait->reader = stub_->AsyncWaitFineTune(wait->context.get(), request, &queue_);
    wait->reader->Finish(&wait->response, &wait->status, wait.get());
    waits_.push_back(std::move(wait));
  }
  // A list whose answer is never read.
  void ListAndNotRead(const std::string& who, const std::string& filter,
                      absl::Duration timeout = absl::Seconds(20)) {
    auto list = std::make_unique<OpenList>();
    list->context = Context(who, timeout);
    pb::ListFineTunesRequest request;
    request.set_page_size(1000);
    request.set_view(pb::FINE_TUNE_VIEW_FULL);
    request.set_filter(filter);
    list->reader = stub_->PrepareAsyncListFineTunes(list->context.get(), request, &queue_);
    list->reader->StartCall();
    list->reader->ReadInitialMetadata(list.get());
    lists_.push_back(std::move(list));
  }
  // The reason why the next call of those that are open ended.
  std::string NextEnd() {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_EQ(
        queue_.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + std::chrono::seconds(20)),
        grpc::CompletionQueue::GOT_EVENT);
    auto* wait = static_cast<OpenWait*>(tag);
    EXPECT_TRUE(wait->status.error_details().size() > 0) << wait->status.error_message();
    return ReasonIn(wait->status);
  }
  grpc::Status Get(const std::string& who) {
    pb::GetFineTuneRequest request;
    request.set_name("fineTunes/a");
    pb::FineTune job;
    return world_->stub->GetFineTune(Context(who).get(), request, &job);
  }
  grpc::Status List(const std::string& who, int page_size = 1000) {
    pb::ListFineTunesRequest request;
    request.set_page_size(page_size);
    pb::ListFineTunesResponse response;
    return world_->stub->ListFineTunes(Context(who).get(), request, &response);
  }
  std::string Series() {
    return prometheus::TextSerializer().Serialize(world_->metrics.registry()->Collect());
  }
  double RefusalsOf(const std::string& caller, const std::string& share) {
    for (const auto& family : world_->metrics.registry()->Collect()) {
      if (family.name != "finetune_gateway_share_refusals_total") continue;
      for (const auto& metric : family.metric)
        if (metric.label[0].value == caller && metric.label[1].value == share)
          return metric.counter.value;
    }
    return 0;
  }
  void AwaitSeries(const std::string& line) {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (Series().find(line) == std::string::npos && absl::Now() < end)
      absl::SleepFor(absl::Milliseconds(5));
    EXPECT_TRUE(Series().find(line) != std::string::npos) << line;
  }
  // Until so many unary calls are under way.
  void AwaitCalls(int64_t least, int64_t most) {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    const auto calls = [&] { return world_->gate.unary_calls(); };
    while ((calls() < least || calls() > most) && absl::Now() < end)
      absl::SleepFor(absl::Milliseconds(5));
    EXPECT_GE(calls(), least);
    EXPECT_LE(calls(), most);
  }
  void PutMany(const std::string& creator) {
    std::vector<std::string> ids;
    for (int i = 0; i < 1000; ++i) ids.push_back(absl::StrCat(creator, i));
    world_->PutAll(ids, pb::FineTune::TRAINING, creator);
  }

  std::unique_ptr<ServiceWorld> world_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::FineTuneService::Stub> stub_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<OpenWait>> waits_;
  std::vector<std::unique_ptr<OpenList>> lists_;
  std::vector<std::unique_ptr<grpc::ClientReader<pb::WatchFineTunesResponse>>> readers_;
};

TEST_F(FairCallers, WaitsTakeNoShortCallsPlaceAndOneCallerNotAllWaits) {
  Start({.calls = {.total = 10, .reserve = 5, .each = 1},
         .waits = {.total = 50, .reserve = 10, .each = 5}});
  world_->Put("a");
  for (int i = 0; i < 100; ++i) Wait("viewer");
  for (int i = 0; i < 60; ++i) EXPECT_EQ(NextEnd(), "CLIENT_QUOTA_EXCEEDED");
  EXPECT_TRUE(Get("viewer").ok());
  for (int i = 0; i < 5; ++i) Wait("");
  AwaitSeries(R"(refusals_total{caller="viewer",share="waits"} 60)");
  AwaitSeries(R"(refused_calls_total{reason="CLIENT_QUOTA_EXCEEDED"} 60)");
  AwaitCalls(45, 45);
}

TEST_F(FairCallers, AnswersThatAreNotReadAreBoundedAndNotYetHandled) {
  Start({.answer_bytes = {.total = 1'600'000, .reserve = 800'000, .each = 200'000}});
  PutMany("mallory");
  PutMany("alice");
  for (int i = 0; i < 40; ++i) ListAndNotRead("mallory", absl::StrCat("display_name != ", i));
  AwaitSeries(R"(share_refusals_total{caller="mallory",share="answer_bytes"})");
  // What was refused has been handled, and what was not read has not.
  AwaitCalls(1, 10);
  AwaitSeries(
      R"(handled_total{grpc_code="OK",grpc_method="ListFineTunes",grpc_service="segmind.finetune.v1.FineTuneService",grpc_type="unary"} 0)");
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(List("alice").ok());
  for (auto& list : lists_) list->context->TryCancel();
  AwaitCalls(0, 0);
}

TEST_F(FairCallers, AnAnswerThatIsNotReadEndsAtItsCallsDeadline) {
  Start({});
  PutMany("mallory");
  ListAndNotRead("mallory", "", absl::Milliseconds(300));
  AwaitSeries(
      R"(handled_total{grpc_code="Canceled",grpc_method="ListFineTunes",grpc_service="segmind.finetune.v1.FineTuneService",grpc_type="unary"} 1)");
  AwaitCalls(0, 0);
}

TEST_F(FairCallers, OneCallerDoesNotGetAllWatches) {
  Start({.watches = {.total = 8, .reserve = 4, .each = 1}});
  world_->Put("a");
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<pb::WatchFineTunesResponse>>> readers;
  const auto watch = [&](const std::string& who) {
    contexts.push_back(Context(who));
    readers.push_back(stub_->WatchFineTunes(contexts.back().get(), {}));
    pb::WatchFineTunesResponse first;
    if (readers.back()->Read(&first)) return std::string("begun");
    return ReasonIn(readers.back()->Finish());
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(watch("viewer"), "begun");
  EXPECT_EQ(watch("viewer"), "CLIENT_QUOTA_EXCEEDED");
  EXPECT_EQ(watch("alice"), "begun");
  EXPECT_EQ(watch("alice"), "CLIENT_QUOTA_EXCEEDED");
  for (const char* who : {"bob", "carol", "dave"}) EXPECT_EQ(watch(who), "begun");
  EXPECT_EQ(watch("erin"), "OVERLOADED");
  AwaitSeries(R"(refusals_total{caller="erin",share="watchers"} 1)");
  for (auto& context : contexts) context->TryCancel();
}

TEST_F(FairCallers, OneCallersWatchesDoNotMakeEachChangeSlowForAll) {
  Start({.watch_terms = {.total = 100, .reserve = 50, .each = 20}});
  PutMany("mallory");
  std::string filter = "display_name != x";
  for (int i = 0; i < 19; ++i) absl::StrAppend(&filter, " AND display_name != x", i);
  pb::WatchFineTunesRequest large;
  large.set_filter(filter);
  pb::WatchFineTunesRequest named;
  for (int i = 0; i < 80; ++i) named.add_names(absl::StrCat("fineTunes/mallory", i));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  const auto watch = [&](const std::string& who, const pb::WatchFineTunesRequest& request) {
    contexts.push_back(Context(who));
    auto reader = stub_->WatchFineTunes(contexts.back().get(), request);
    pb::WatchFineTunesResponse first;
    const bool begun = reader->Read(&first);
    readers_.push_back(std::move(reader));
    return begun ? "begun" : ReasonIn(readers_.back()->Finish());
  };
  EXPECT_EQ(watch("viewer", large), "begun");
  EXPECT_EQ(watch("viewer", named), "begun");
  EXPECT_EQ(watch("viewer", large), "CLIENT_QUOTA_EXCEEDED");
  EXPECT_EQ(watch("viewer", named), "CLIENT_QUOTA_EXCEEDED");
  EXPECT_EQ(watch("viewer", {}), "begun") << "it costs nothing";
  EXPECT_EQ(watch("alice", large), "begun");
  EXPECT_EQ(RefusalsOf("viewer", "watch_terms"), 2);
  for (auto& context : contexts) context->TryCancel();
}

TEST_F(FairCallers, ScansAreBoundedAndDroppedWithTheirClients) {
  // A thousand jobs and twenty comparisons each: thirty units.
  Start({.scans = {.total = 120, .reserve = 60, .each = 30}});
  PutMany("mallory");
  PutMany("alice");
  std::string filter = "display_name != x";
  for (int i = 0; i < 19; ++i) absl::StrAppend(&filter, " AND display_name != x", i);
  for (int i = 0; i < 200; ++i)
    ListAndNotRead("mallory", absl::StrCat(filter, " AND display_name != y", i), absl::Seconds(5));
  EXPECT_TRUE(List("alice").ok());
  pb::ListFineTunesRequest request;
  request.set_filter(filter);
  pb::ListFineTunesResponse response;
  const grpc::Status status =
      world_->stub->ListFineTunes(Context("alice").get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.total_size(), 1000);
  for (auto& list : lists_) list->context->TryCancel();
  AwaitCalls(0, 0);
  EXPECT_GT(RefusalsOf("mallory", "scans"), 0);
  EXPECT_EQ(RefusalsOf("alice", "scans"), 0);
}

TEST_F(FairCallers, WithoutAPolicyEachMachineIsOne) {
  const auto door = MakeOpenAuthenticator();
  grpc::CallbackServerContext context;
  const auto first = door->Authenticate(context, absl::Now());
  const auto second = door->Authenticate(context, absl::Now());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->caller->use, second->caller->use);
  EXPECT_EQ(first->caller->use->label(), "other");
  EXPECT_EQ(first->caller->identity, "");
}

}  // namespace
}  // namespace finetune
