#include "server/jobs/tracking/leader_recorder.h"

#include <vector>

#include "tests/jobs/shared_memory_store.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

// A fleet that hears who was refused.
class Listening : public SoloFleet {
 public:
  Listening() : SoloFleet(FleetMember{}) {}
  void OnFenced(const LeaderTerm& term) override { fenced.push_back(term.number); }
  std::vector<uint64_t> fenced;  // The recorder's thread writes; read after its `done`.
};

absl::Status Put(LeaderRecorder& recorder, const std::string& id) {
  std::promise<absl::Status> done;
  recorder.Record(
      [&](Draft& draft) {
        draft.Put(MakeJob(id));
        return absl::OkStatus();
      },
      [&](absl::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

TEST(LeaderRecorder, WritesAsLongAsItsTermLastsAndTellsTheFleetOnceItIsOver) {
  SharedRecord record;
  JobsFixture jobs(std::make_unique<SharedMemoryStore>(record));
  Listening fleet;
  LeaderRecorder recorder(*jobs.recorder, fleet, {1, "me"});
  record.SetLeader({1, "me"});
  EXPECT_TRUE(Put(recorder, "a").ok());
  record.SetLeader({2, "another"});
  EXPECT_TRUE(absl::IsAborted(Put(recorder, "b")));
  EXPECT_EQ(jobs.catalog.Find("b"), nullptr);
  EXPECT_EQ(fleet.fenced, std::vector<uint64_t>{1});
}

TEST(LeaderRecorder, AMutationsOwnErrorIsNoEndOfItsTerm) {
  SharedRecord record;
  JobsFixture jobs(std::make_unique<SharedMemoryStore>(record));
  Listening fleet;
  record.SetLeader({1, "me"});
  LeaderRecorder recorder(*jobs.recorder, fleet, {1, "me"});
  std::promise<absl::Status> done;
  recorder.Record([](Draft&) { return absl::InvalidArgumentError("no"); },
                  [&](absl::Status status) { done.set_value(std::move(status)); });
  EXPECT_TRUE(absl::IsInvalidArgument(done.get_future().get()));
  EXPECT_TRUE(fleet.fenced.empty());
}

TEST(LeaderRecorder, HasNoTermWhereTheRecordIsOneProcesssAlone) {
  JobsFixture jobs;
  LeaderRecorder recorder(*jobs.recorder);
  EXPECT_TRUE(Put(recorder, "a").ok());
  EXPECT_NE(jobs.catalog.Find("a"), nullptr);
}

TEST(LeaderRecorder, KnowsWhetherASubmissionIsOpen) {
  JobsFixture jobs;
  LeaderRecorder recorder(*jobs.recorder);
  EXPECT_FALSE(recorder.has_unsettled());
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_state(record::Intent::UNKNOWN);
  ASSERT_TRUE(jobs.Run([&](Draft& draft) {
                    draft.PutIntent(intent);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_TRUE(recorder.has_unsettled());
}

}  // namespace
}  // namespace finetune
