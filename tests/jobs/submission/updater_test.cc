#include "server/jobs/submission/updater.h"

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
                       .label_changes = {{"y", std::nullopt}, {"z", "3"}}});
  ASSERT_TRUE(reply.get().ok());
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
