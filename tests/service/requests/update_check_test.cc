#include "server/service/requests/update_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/service/requests/bad_fields.h"

namespace finetune {
namespace {

using ::testing::Contains;

pb::UpdateFineTuneRequest Update(std::vector<std::string> paths) {
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_name("fineTunes/x");
  for (auto& path : paths) request.mutable_update_mask()->add_paths(path);
  return request;
}

TEST(UpdateCheck, ReadsTheMask) {
  auto request = Update({"visibility", "labels.a", "labels.`example.com/b`"});
  request.mutable_fine_tune()->set_visibility(pb::FineTune::PUBLIC);
  request.mutable_fine_tune()->set_etag("e");
  (*request.mutable_fine_tune()->mutable_labels())["a"] = "1";
  (*request.mutable_fine_tune()->mutable_labels())["unnamed"] = "2";
  auto call = CheckUpdate(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "x");
  EXPECT_EQ(call->etag, "e");
  EXPECT_EQ(call->visibility, pb::FineTune::PUBLIC);
  EXPECT_FALSE(call->labels.has_value());
  ASSERT_EQ(call->label_changes.size(), 2u);
  EXPECT_EQ(call->label_changes[0].second, "1");
  EXPECT_EQ(call->label_changes[1].first, "example.com/b");
  EXPECT_EQ(call->label_changes[1].second, std::nullopt);
  EXPECT_EQ(call->unnamed_labels, (std::map<std::string, std::string>{{"unnamed", "2"}}));
}

TEST(UpdateCheck, AMaskOfAllLabelsNamesEachOfThem) {
  auto request = Update({"labels"});
  (*request.mutable_fine_tune()->mutable_labels())["a"] = "1";
  EXPECT_TRUE(CheckUpdate(request)->unnamed_labels.empty());
  request.mutable_update_mask()->clear_paths();
  EXPECT_TRUE(CheckUpdate(request)->unnamed_labels.empty());
}

TEST(UpdateCheck, ClearsLabelsWhenTheMaskNamesThemAndNoneAreGiven) {
  auto call = CheckUpdate(Update({"labels"}));
  ASSERT_TRUE(call.ok());
  ASSERT_TRUE(call->labels.has_value());
  EXPECT_TRUE(call->labels->empty());
}

TEST(UpdateCheck, TakesWhatIsSetWithoutAMask) {
  auto request = Update({});
  request.mutable_fine_tune()->set_visibility(pb::FineTune::PRIVATE);
  auto call = CheckUpdate(request);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->visibility, pb::FineTune::PRIVATE);
  EXPECT_FALSE(call->labels.has_value());
}

TEST(UpdateCheck, RefusesWhatCannotBeUpdated) {
  for (const char* path : {"state", "display_name", "labels_", "*", ""})
    EXPECT_THAT(FieldsOf(CheckUpdate(Update({path})).status()), Contains("update_mask")) << path;
  EXPECT_THAT(FieldsOf(CheckUpdate(Update({"visibility"})).status()),
              Contains("fine_tune.visibility"));
  EXPECT_THAT(FieldsOf(CheckUpdate(Update({})).status()), Contains("update_mask"));
  EXPECT_THAT(FieldsOf(CheckUpdate(Update({"labels.bad key"})).status()),
              Contains("fine_tune.labels.bad key"));
  EXPECT_THAT(FieldsOf(CheckUpdate(Update({"labels", "labels.a"})).status()),
              Contains("update_mask"));
}

}  // namespace
}  // namespace finetune
