#include "server/jobs/submission/updater.h"

#include <atomic>
#include <cstdlib>
#include <future>

#include "tests/jobs/rig.h"

namespace finetune {
namespace {

using pb::FineTune;
using UpdateReply = Reply<absl::StatusOr<VersionPtr>>;

class UpdaterTest : public Rig {
 protected:
  void SetUp() override {
    FakeJob job;
    job.id = "a";
    job.name = "cats";
    job.status = "AVAILABLE";
    job.created = job.visible = clock_.Now();
    segmind_.Add(job);
    StartProcess();
    ASSERT_TRUE(RunUntil([&] { return !Job("a").slug().empty(); }));
  }
  UpdateReply Update(UpdateCall call) {
    UpdateReply reply;
    call.deadline = clock_.Now() + absl::Seconds(10);
    process_->updater.Update(std::move(call), reply.Taker());
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return reply;
  }
};

TEST_F(UpdaterTest, ChangesVisibilityAtSegmindAndInTheRecord) {
  auto reply = Update({.id = "a", .visibility = FineTune::PUBLIC});
  ASSERT_TRUE(reply.get().ok()) << reply.get().status();
  EXPECT_EQ((*reply.get())->visibility, FineTune::PUBLIC);
  EXPECT_TRUE(segmind_.jobs()[0].is_public);
  RunFor(absl::Seconds(20));
  EXPECT_EQ(Job("a").visibility(), FineTune::PUBLIC);
}

TEST_F(UpdaterTest, KeepsLabelsInTheRecordAlone) {
  auto reply = Update({.id = "a",
                       .labels = std::map<std::string, std::string>{{"x", "1"}, {"y", "2"}},
                       .label_changes = {{"z", "3"}}});
  ASSERT_TRUE(reply.get().ok()) << reply.get().status();
  reply = Update({.id = "a", .label_changes = {{"y", std::nullopt}}});
  ASSERT_TRUE(reply.get().ok()) << reply.get().status();
  EXPECT_EQ(Job("a").labels().size(), 2u);
  EXPECT_EQ(Job("a").labels().at("z"), "3");
}

TEST_F(UpdaterTest, RefusesAnEtagThatIsNotTheJobs) {
  const std::string etag = Job("a").etag();
  ASSERT_TRUE(Update({.id = "a", .etag = etag, .label_changes = {{"x", "1"}}}).get().ok());
  auto reply = Update({.id = "a", .etag = etag, .label_changes = {{"x", "2"}}});
  EXPECT_TRUE(absl::IsAborted(reply.get().status()));
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::ETAG_MISMATCH);
  EXPECT_EQ(Job("a").labels().at("x"), "1");
}

TEST_F(UpdaterTest, OfTwoUpdatesWithOneEtagOneWins) {
  const std::string etag = Job("a").etag();
  std::vector<UpdateReply> replies(2);
  for (UpdateReply& reply : replies) {
    process_->updater.Update({.id = "a",
                              .etag = etag,
                              .visibility = FineTune::PUBLIC,
                              .deadline = clock_.Now() + absl::Seconds(10)},
                             reply.Taker());
  }
  ASSERT_TRUE(RunUntil([&] { return replies[0].ready() && replies[1].ready(); }));
  EXPECT_TRUE(replies[0].get().ok());
  EXPECT_TRUE(absl::IsAborted(replies[1].get().status()));
}

TEST_F(UpdaterTest, OneThatNobodyWaitsForEndsWhereverItIs) {
  segmind_.set_access_fate([] { return Fate::kServerError; });
  auto first = std::make_shared<Cancellation>();
  auto second = std::make_shared<Cancellation>();
  std::vector<UpdateReply> replies(3);
  const auto update = [&](int i, std::shared_ptr<const Cancellation> cancellation) {
    process_->updater.Update({.id = "a",
                              .visibility = FineTune::PUBLIC,
                              .deadline = clock_.Now() + absl::Hours(1),
                              .cancellation = std::move(cancellation)},
                             replies[i].Taker());
  };
  update(0, first);
  update(1, second);
  update(2, nullptr);
  RunFor(absl::Seconds(2));
  EXPECT_EQ(replies[0].count() + replies[1].count(), 0);
  // It waits behind the first one, which goes on.
  second->Cancel();
  ASSERT_TRUE(RunUntil([&] { return replies[1].ready(); }));
  EXPECT_TRUE(absl::IsCancelled(replies[1].get().status()));
  EXPECT_FALSE(replies[0].ready());
  // Segmind is being asked.
  first->Cancel();
  ASSERT_TRUE(RunUntil([&] { return replies[0].ready(); }));
  EXPECT_TRUE(absl::IsCancelled(replies[0].get().status()));
  EXPECT_FALSE(segmind_.jobs()[0].is_public);
  // The queue goes on.
  segmind_.set_access_fate(nullptr);
  ASSERT_TRUE(RunUntil([&] { return replies[2].ready(); }));
  EXPECT_TRUE(replies[2].get().ok()) << replies[2].get().status();
  EXPECT_TRUE(segmind_.jobs()[0].is_public);
  // One that is cancelled before it begins.
  UpdateReply late;
  process_->updater.Update({.id = "a",
                            .visibility = FineTune::PRIVATE,
                            .deadline = clock_.Now() + absl::Hours(1),
                            .cancellation = first},
                           late.Taker());
  ASSERT_TRUE(RunUntil([&] { return late.ready(); }));
  EXPECT_TRUE(absl::IsCancelled(late.get().status()));
  EXPECT_TRUE(segmind_.jobs()[0].is_public);
}

TEST_F(UpdaterTest, RefusesToRemoveALabelThatTheJobDoesNotHave) {
  ASSERT_TRUE(Update({.id = "a", .label_changes = {{"cost_center", "7"}}}).get().ok());
  // What a JSON client makes of labels.costCenter, with the label that it carries.
  auto reply = Update({.id = "a",
                       .label_changes = {{"cost_center", std::nullopt}},
                       .unnamed_labels = {{"costCenter", "8"}}});
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(Job("a").labels().at("cost_center"), "7") << "it is not what was meant";
  reply = Update({.id = "a", .label_changes = {{"costcenter", std::nullopt}}});
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::INVALID_FIELD);
  EXPECT_TRUE(Update({.id = "a", .label_changes = {{"cost_center", std::nullopt}}}).get().ok());
  EXPECT_EQ(Job("a").labels().size(), 0u);
}

TEST_F(UpdaterTest, TakesLabelsThatNoPathNamesAsTheJobHasThemOnly) {
  ASSERT_TRUE(Update({.id = "a", .label_changes = {{"x", "1"}}}).get().ok());
  // Whoever sends back what was read.
  auto reply = Update({.id = "a",
                       .visibility = FineTune::PUBLIC,
                       .label_changes = {{"y", "2"}},
                       .unnamed_labels = {{"x", "1"}}});
  EXPECT_TRUE(reply.get().ok()) << reply.get().status();
  reply = Update({.id = "a", .visibility = FineTune::PRIVATE, .unnamed_labels = {{"x", "2"}}});
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(Job("a").visibility(), FineTune::PUBLIC) << "nothing was changed at Segmind";
}

TEST_F(UpdaterTest, ManyUpdatesThatEndAtOnceAreEndedOneAfterAnotherAndBounded) {
  const std::string etag = Job("a").etag();
  const size_t sent = 10'000;
  std::vector<UpdateReply> replies(sent);
  std::atomic<bool> held = true;
  std::promise<void> holding;
  // The recorder is busy, so that the first update waits, and all others behind it.
  process_->recorder.Record(
      [&](Draft&) {
        holding.set_value();
        while (held) std::this_thread::yield();
        return absl::OkStatus();
      },
      [](absl::Status) {});
  holding.get_future().wait();
  for (UpdateReply& reply : replies) {
    process_->updater.Update({.id = "a",
                              .etag = etag,
                              .label_changes = {{"x", "1"}},
                              .deadline = clock_.Now() + absl::Seconds(10)},
                             reply.Taker());
  }
  held = false;
  ASSERT_TRUE(RunUntil([&] {
    return std::all_of(replies.begin(), replies.end(), [](auto& r) { return r.ready(); });
  }));
  std::map<pb::ErrorReason::Reason, size_t> reasons;
  for (UpdateReply& reply : replies) ++reasons[ReasonOf(reply.get().status())];
  EXPECT_TRUE(replies[0].get().ok());
  EXPECT_EQ(reasons[pb::ErrorReason::ETAG_MISMATCH], Updater::kMaxPerJob - 1);
  EXPECT_EQ(reasons[pb::ErrorReason::OVERLOADED], sent - Updater::kMaxPerJob);
  EXPECT_TRUE(Update({.id = "a", .label_changes = {{"x", "2"}}}).get().ok()) << "and on it goes";
}

// Each asks for the next one from within its own end.
TEST_F(UpdaterTest, UpdatesThatFollowFromEndsDoNotPileUpOnTheStack) {
  int depth = 0;
  int deepest = 0;
  int left = 10'000;
  std::function<void()> next = [&] {
    process_->updater.Update(
        {.id = "a", .etag = "stale", .label_changes = {{"x", "1"}}, .deadline = clock_.Now()},
        [&](absl::StatusOr<VersionPtr>) {
          deepest = std::max(deepest, ++depth);
          if (--left > 0) next();
          --depth;
        });
  };
  next();
  EXPECT_EQ(left, 0);
  EXPECT_LT(deepest, 10);
}

TEST_F(UpdaterTest, DoesNotKnowAJobThatIsNone) {
  auto reply = Update({.id = "none", .label_changes = {{"x", "2"}}});
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
}

TEST_F(UpdaterTest, CannotChangeVisibilityWhileSegmindsIdIsUnknown) {
  segmind_.NextSubmits({Fate::kHeldBefore});
  auto created = Create("r1", absl::Seconds(1));
  ASSERT_TRUE(RunUntil([&] { return created.ready(); }));
  auto reply = Update({.id = (*created.get())->id, .visibility = FineTune::PUBLIC});
  EXPECT_TRUE(absl::IsFailedPrecondition(reply.get().status()));
}

}  // namespace
}  // namespace finetune
