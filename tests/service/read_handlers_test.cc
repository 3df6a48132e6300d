#include "server/service/read_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/service_world.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class ReadHandlersTest : public ::testing::Test {
 protected:
  grpc::Status Get(const std::string& name, pb::FineTune* job, const std::string& who = "") {
    pb::GetFineTuneRequest request;
    request.set_name(name);
    return world_.stub->GetFineTune(Context(who).get(), request, job);
  }
  grpc::Status List(const pb::ListFineTunesRequest& request, pb::ListFineTunesResponse* response,
                    const std::string& who = "") {
    return world_.stub->ListFineTunes(Context(who).get(), request, response);
  }

  ServiceWorld world_;
};

TEST_F(ReadHandlersTest, GetsAJobFromMemory) {
  world_.Put("a");
  const absl::Time read = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(0);
  world_.catalog.SetObserveTime(read);
  pb::FineTune job;
  ASSERT_TRUE(Get("fineTunes/a", &job).ok());
  EXPECT_EQ(job.name(), "fineTunes/a");
  EXPECT_EQ(job.display_name(), "job a");
  EXPECT_EQ(FromProto(job.observe_time()), world_.clock->ToWall(read));
  EXPECT_FALSE(job.etag().empty());
}

TEST_F(ReadHandlersTest, SaysWhatIsNotThere) {
  pb::FineTune job;
  grpc::Status status = Get("fineTunes/none", &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonIn(status), "FINE_TUNE_NOT_FOUND");
  status = Get("none", &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonIn(status), "INVALID_FIELD");
}

TEST_F(ReadHandlersTest, ListsNewestFirstInPagesThatNeitherSkipNorRepeat) {
  for (int i = 0; i < 7; ++i) world_.Put(absl::StrCat("j", i));
  pb::ListFineTunesRequest request;
  request.set_page_size(3);
  std::vector<std::string> names;
  for (int page = 0; page < 5; ++page) {
    pb::ListFineTunesResponse response;
    ASSERT_TRUE(List(request, &response).ok());
    EXPECT_EQ(response.total_size(), page == 0 ? 7 : 7 + page);
    EXPECT_EQ(response.revision(), world_.catalog.view()->revision());
    for (const auto& job : response.fine_tunes()) names.push_back(job.name());
    // Changes and new jobs between the pages do not move what comes.
    world_.Put("j0", page % 2 ? pb::FineTune::TRAINING : pb::FineTune::TRAINED);
    world_.Put(absl::StrCat("new", page));
    request.set_page_token(response.next_page_token());
    if (response.next_page_token().empty()) break;
  }
  EXPECT_THAT(names, ElementsAre("fineTunes/j6", "fineTunes/j5", "fineTunes/j4", "fineTunes/j3",
                                 "fineTunes/j2", "fineTunes/j1", "fineTunes/j0"));
}

TEST_F(ReadHandlersTest, ListsWhatMatchesAndRefusesTokensOfOtherQueries) {
  world_.Put("a", pb::FineTune::TRAINING);
  world_.Put("b", pb::FineTune::AVAILABLE);
  world_.Put("c", pb::FineTune::AVAILABLE);
  pb::ListFineTunesRequest request;
  request.set_filter("state = AVAILABLE");
  request.set_page_size(1);
  pb::ListFineTunesResponse response;
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_THAT(response.fine_tunes(), SizeIs(1));
  EXPECT_EQ(response.total_size(), 2);
  request.set_page_token(response.next_page_token());
  request.set_filter("");
  EXPECT_EQ(ReasonIn(List(request, &response)), "PAGE_TOKEN_INVALID");
  request.set_page_size(-1);
  EXPECT_EQ(ReasonIn(List(request, &response)), "INVALID_FIELD");
}

TEST_F(ReadHandlersTest, ListsTheFewThatMatchAmongMany) {
  std::vector<std::string> ids;
  for (int i = 0; i < 10'500; ++i) ids.push_back(absl::StrCat("j", i));
  world_.Put("a", pb::FineTune::AVAILABLE);
  world_.PutAll(ids, pb::FineTune::TRAINING);
  world_.Put("b", pb::FineTune::AVAILABLE);
  pb::ListFineTunesRequest request;
  request.set_filter("state = AVAILABLE");
  for (int i = 0; i < 2; ++i) {  // The page is made once.
    pb::ListFineTunesResponse response;
    ASSERT_TRUE(List(request, &response).ok());
    ASSERT_THAT(response.fine_tunes(), SizeIs(2));
    EXPECT_EQ(response.fine_tunes(0).name(), "fineTunes/b");
    EXPECT_EQ(response.fine_tunes(1).name(), "fineTunes/a");
    EXPECT_EQ(response.total_size(), 2);
  }
  world_.Put("a", pb::FineTune::FAILED);
  pb::ListFineTunesResponse response;
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_THAT(response.fine_tunes(), SizeIs(1));
}

TEST_F(ReadHandlersTest, ListsAnEmptyCatalog) {
  pb::ListFineTunesResponse response;
  response.set_total_size(9);
  ASSERT_TRUE(List({}, &response).ok());
  EXPECT_THAT(response.fine_tunes(), SizeIs(0));
  EXPECT_EQ(response.total_size(), 0);
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(ReadHandlersTest, ReadsSegmindWhenFreshnessAsksForIt) {
  world_.segmind_http.Answer("/finetune/request/list", 200,
                             R"([{"id":"u1","finetune_id":"u1","name":"n","status":"AVAILABLE"}])");
  world_.tracker.Start();
  pb::ListFineTunesRequest request;
  request.mutable_freshness()->mutable_max_staleness();
  const absl::Time before = world_.clock->WallNow();
  pb::ListFineTunesResponse response;
  grpc::Status status = List(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.fine_tunes(), SizeIs(1));
  EXPECT_GE(FromProto(response.observe_time()), before);
}

TEST_F(ReadHandlersTest, AwaitsARevision) {
  world_.Put("a");
  const uint64_t next = world_.catalog.view()->revision() + 1;
  pb::GetFineTuneRequest request;
  request.set_name("fineTunes/a");
  request.mutable_freshness()->set_min_revision(next);
  std::thread later([&] { world_.Put("a", pb::FineTune::TRAINED); });
  pb::FineTune job;
  EXPECT_TRUE(world_.stub->GetFineTune(Context().get(), request, &job).ok());
  EXPECT_EQ(job.state(), pb::FineTune::TRAINED);
  later.join();
  request.mutable_freshness()->set_min_revision(next + 1000);
  const grpc::Status late =
      world_.stub->GetFineTune(Context("", absl::Milliseconds(300)).get(), request, &job);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// Whether the condition comes true: gRPC tells a handler of a client's end in its own time.
bool Eventually(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + absl::Seconds(20);
  while (!condition() && absl::Now() < end) std::this_thread::yield();
  return condition();
}

TEST_F(ReadHandlersTest, ARevisionIsNotAwaitedForAClientThatIsGone) {
  world_.Put("a");
  pb::GetFineTuneRequest get;
  get.set_name("fineTunes/a");
  get.mutable_freshness()->set_min_revision(1'000'000);
  pb::ListFineTunesRequest list;
  *list.mutable_freshness() = get.freshness();
  const auto get_context = Context("", absl::Hours(100)),
             list_context = Context("", absl::Hours(100));
  std::thread getting([&] {
    pb::FineTune job;
    EXPECT_EQ(world_.stub->GetFineTune(get_context.get(), get, &job).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  std::thread listing([&] {
    pb::ListFineTunesResponse response;
    EXPECT_EQ(world_.stub->ListFineTunes(list_context.get(), list, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  EXPECT_TRUE(Eventually([&] { return world_.gate.unary_calls() == 2; }));
  get_context->TryCancel();
  list_context->TryCancel();
  getting.join();
  listing.join();
  EXPECT_TRUE(Eventually([&] { return world_.gate.unary_calls() == 0; }));
}

TEST_F(ReadHandlersTest, NoReadIsAwaitedForAClientThatIsGone) {
  world_.Put("a");
  pb::GetFineTuneRequest get;
  get.set_name("fineTunes/a");
  get.mutable_freshness()->mutable_max_staleness();
  const auto context = Context("", absl::Hours(100));
  std::thread getting([&] {
    pb::FineTune job;
    EXPECT_EQ(world_.stub->GetFineTune(context.get(), get, &job).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  // The tracker has not been started: no read comes.
  EXPECT_TRUE(Eventually([&] { return world_.gate.unary_calls() == 1; }));
  context->TryCancel();
  getting.join();
  EXPECT_TRUE(Eventually([&] { return world_.gate.unary_calls() == 0; }));
}

TEST_F(ReadHandlersTest, ADrainTellsThoseWhoAwaitARevisionToGoElsewhere) {
  pb::ListFineTunesRequest request;
  request.mutable_freshness()->set_min_revision(1'000'000);
  grpc::Status ended;
  std::thread listing([&] {
    pb::ListFineTunesResponse response;
    ended = world_.stub->ListFineTunes(Context("", absl::Hours(1)).get(), request, &response);
  });
  EXPECT_TRUE(Eventually([&] { return world_.gate.unary_calls() == 1; }));
  world_.Stop();
  listing.join();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(ended), "SERVER_DRAINING");
}

TEST_F(ReadHandlersTest, WaitsForAState) {
  world_.Put("a", pb::FineTune::TRAINING);
  pb::WaitFineTuneRequest request;
  request.set_name("fineTunes/a");
  request.set_until(pb::FineTune::TRAINED);
  std::thread later([&] { world_.Put("a", pb::FineTune::DEPLOYING); });
  pb::WaitFineTuneResponse response;
  ASSERT_TRUE(world_.stub->WaitFineTune(Context().get(), request, &response).ok());
  EXPECT_TRUE(response.done());
  EXPECT_EQ(response.fine_tune().state(), pb::FineTune::DEPLOYING);
  later.join();
}

TEST_F(ReadHandlersTest, AWaitEndsBeforeTheDeadlineOfItsCall) {
  world_.Put("a", pb::FineTune::TRAINING);
  pb::WaitFineTuneRequest request;
  request.set_name("fineTunes/a");
  pb::WaitFineTuneResponse response;
  ASSERT_TRUE(
      world_.stub->WaitFineTune(Context("", absl::Seconds(2)).get(), request, &response).ok());
  EXPECT_FALSE(response.done());
  EXPECT_EQ(response.fine_tune().name(), "fineTunes/a");
  request.mutable_timeout();
  ASSERT_TRUE(world_.stub->WaitFineTune(Context().get(), request, &response).ok());
  EXPECT_FALSE(response.done());
}

TEST(EndOfWait, HasNoCeilingAndADefaultOfAnHour) {
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  pb::WaitFineTuneRequest request;
  EXPECT_EQ(EndOfWait(request, start, absl::InfiniteFuture()), start + absl::Hours(1));
  EXPECT_EQ(EndOfWait(request, start, start + absl::Hours(5)), start + absl::Hours(5));
  request.mutable_timeout()->set_seconds(3 * 3600);
  EXPECT_EQ(EndOfWait(request, start, absl::InfiniteFuture()), start + absl::Hours(3));
  EXPECT_EQ(EndOfWait(request, start, start + absl::Hours(1)), start + absl::Hours(1));
}

TEST_F(ReadHandlersTest, AWaitMayLastLongerThanAnHour) {
  world_.Put("a", pb::FineTune::TRAINING);
  pb::WaitFineTuneRequest request;
  request.set_name("fineTunes/a");
  request.mutable_timeout()->set_seconds(365 * 24 * 3600);
  grpc::ClientContext without_deadline;
  pb::WaitFineTuneResponse response;
  const int before = world_.authenticator.asked();
  std::thread waiting(
      [&] { EXPECT_TRUE(world_.stub->WaitFineTune(&without_deadline, request, &response).ok()); });
  world_.authenticator.AwaitAsked(before);
  world_.Put("a", pb::FineTune::AVAILABLE);
  waiting.join();
  EXPECT_TRUE(response.done());
}

TEST_F(ReadHandlersTest, AWaitForAJobThatFailedIsDone) {
  world_.Put("a", pb::FineTune::FAILED);
  pb::WaitFineTuneRequest request;
  request.set_name("fineTunes/a");
  pb::WaitFineTuneResponse response;
  ASSERT_TRUE(world_.stub->WaitFineTune(Context().get(), request, &response).ok());
  EXPECT_TRUE(response.done());
}

TEST_F(ReadHandlersTest, RefusesWatchesThatMakeNoSense) {
  const auto reason = [&](const pb::WatchFineTunesRequest& request) {
    auto context = Context();
    auto stream = world_.stub->WatchFineTunes(context.get(), request);
    pb::WatchFineTunesResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return ReasonIn(stream->Finish());
  };
  pb::WatchFineTunesRequest request;
  request.add_names("fineTunes/none");
  EXPECT_EQ(reason(request), "FINE_TUNE_NOT_FOUND");
  request.Clear();
  request.set_filter("state = ");
  EXPECT_EQ(reason(request), "INVALID_FIELD");
  request.Clear();
  request.set_resume_token("bogus");
  EXPECT_EQ(reason(request), "RESUME_TOKEN_INVALID");
  request.Clear();
  request.mutable_heartbeat_interval()->set_seconds(3600);
  EXPECT_EQ(reason(request), "INVALID_FIELD");
}

TEST_F(ReadHandlersTest, TellsItsStatus) {
  world_.Put("a", pb::FineTune::TRAINING);
  world_.Put("b", pb::FineTune::FAILED);
  pb::GatewayStatus status;
  ASSERT_TRUE(world_.stub->GetGatewayStatus(Context().get(), {}, &status).ok());
  EXPECT_EQ(status.version(), FINETUNE_VERSION);
  EXPECT_EQ(status.fine_tune_count(), 2);
  EXPECT_EQ(status.active_fine_tune_count(), 1);
  EXPECT_EQ(status.revision(), 2u);
  // Nobody who runs one gateway hears of others.
  EXPECT_EQ(status.store(), "sqlite");
  EXPECT_EQ(status.replicas_size(), 0);
  EXPECT_FALSE(status.has_store_lag());
}

TEST_F(ReadHandlersTest, CallersThatSeeTheirOwnSeeOnlyTheirOwn) {
  world_.Put("a", pb::FineTune::TRAINING, "alice");
  world_.Put("b", pb::FineTune::TRAINING, "bob");
  pb::FineTune job;
  EXPECT_TRUE(Get("fineTunes/a", &job, "alice").ok());
  EXPECT_EQ(ReasonIn(Get("fineTunes/a", &job, "bob")), "FINE_TUNE_NOT_FOUND");
  pb::ListFineTunesResponse response;
  ASSERT_TRUE(List({}, &response, "bob").ok());
  ASSERT_THAT(response.fine_tunes(), SizeIs(1));
  EXPECT_EQ(response.fine_tunes(0).name(), "fineTunes/b");
  EXPECT_EQ(response.total_size(), 1);
}

TEST_F(ReadHandlersTest, TellsWhoCallsAndWhoAnswers) {
  pb::GatewayStatus status;
  ASSERT_TRUE(world_.stub->GetGatewayStatus(Context("viewer").get(), {}, &status).ok());
  EXPECT_EQ(status.caller().name(), "viewer");
  EXPECT_EQ(status.caller().role(), pb::CallerIdentity::VIEWER);
  EXPECT_EQ(status.replica(), "replica-7");
  ASSERT_TRUE(world_.stub->GetGatewayStatus(Context().get(), {}, &status).ok());
  EXPECT_EQ(status.caller().name(), "");
  EXPECT_EQ(status.caller().role(), pb::CallerIdentity::ADMIN);
}

TEST_F(ReadHandlersTest, WaitsEndWhenItDrains) {
  world_.Put("a", pb::FineTune::TRAINING);
  pb::WaitFineTuneRequest request;
  request.set_name("fineTunes/a");
  grpc::Status status;
  std::thread waiting([&] {
    pb::WaitFineTuneResponse response;
    status = world_.stub->WaitFineTune(Context().get(), request, &response);
  });
  world_.service.Drain();
  waiting.join();
  EXPECT_EQ(ReasonIn(status), "SERVER_DRAINING");
}

}  // namespace
}  // namespace finetune
