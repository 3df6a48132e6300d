#include "server/service/visible_job.h"

#include <gtest/gtest.h>

#include "server/base/error.h"
#include "tests/jobs/store_fixture.h"
#include "tests/service/service_world.h"

namespace finetune {
namespace {

Caller Named(const std::string& identity, bool sees_all) {
  return {
      .identity = identity, .role = Role::kViewer, .sees_all = sees_all, .limits = {}, .use = {}};
}

class FindVisibleTest : public ::testing::Test {
 protected:
  FindVisibleTest() {
    record::FineTuneRecord record = MakeJob("a");
    record.mutable_fine_tune()->set_creator("alice");
    EXPECT_TRUE(jobs_.Put(record).ok());
  }
  absl::StatusOr<VersionPtr> Find(const std::string& name, const Caller& caller) {
    return FindVisible(jobs_.catalog, name, "name", caller);
  }

  JobsFixture jobs_;
};

TEST_F(FindVisibleTest, ShowsACallerItsOwnAndAllToWhoSeesAll) {
  for (const Caller& caller : {Named("alice", false), Named("bob", true)}) {
    const auto found = Find("fineTunes/a", caller);
    ASSERT_TRUE(found.ok()) << caller.identity;
    EXPECT_EQ((*found)->id, "a");
  }
}

TEST_F(FindVisibleTest, SaysTheSameOfWhatIsAnothersAndOfWhatIsNotThere) {
  const auto others = Find("fineTunes/a", Named("bob", false));
  const auto none = Find("fineTunes/b", Named("bob", true));
  for (const auto& found : {others, none}) {
    EXPECT_TRUE(absl::IsNotFound(found.status()));
    EXPECT_EQ(ReasonOf(found.status()), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
  }
  EXPECT_EQ(others.status().message(), "no fine-tune 'fineTunes/a'");
}

TEST_F(FindVisibleTest, NamesTheFieldOfANameThatIsNone) {
  const auto found = FindVisible(jobs_.catalog, "a", "fine_tune.name", Named("alice", true));
  EXPECT_EQ(ReasonOf(found.status()), pb::ErrorReason::INVALID_FIELD);
  EXPECT_NE(std::string(found.status().message()).find("fine_tune.name"), std::string::npos);
}

}  // namespace
}  // namespace finetune
