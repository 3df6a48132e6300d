#include "server/jobs/record/version_change.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

VersionPtr Version() {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name("fineTunes/x");
  record.mutable_fine_tune()->set_display_name(std::string(300, 'd'));
  record.mutable_fine_tune()->set_revision(7);
  record.mutable_fine_tune()->add_transitions()->set_upstream_status("QUEUED");
  record.set_first_revision(7);
  return MakeVersion(record);
}

pb::WatchFineTunesResponse Parse(grpc::ByteBuffer bytes) {
  grpc::Slice slice;
  EXPECT_TRUE(bytes.DumpToSingleSlice(&slice).ok());
  pb::WatchFineTunesResponse response;
  EXPECT_TRUE(response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
  EXPECT_TRUE(response.GetReflection()->GetUnknownFields(response).empty());
  return response;
}

TEST(VersionChange, IsEncodedAsAWatchResponse) {
  VersionChange change(Version(), nullptr, absl::Now(), "token");
  auto full = Parse(change.Encoded(pb::Change::CREATED, pb::FINE_TUNE_VIEW_FULL));
  EXPECT_EQ(full.change().type(), pb::Change::CREATED);
  EXPECT_EQ(full.change().fine_tune().name(), "fineTunes/x");
  EXPECT_EQ(full.change().fine_tune().transitions_size(), 1);
  EXPECT_EQ(full.resume_token(), "token");
  EXPECT_EQ(full.revision(), 7u);
  auto basic = Parse(change.Encoded(pb::Change::LEFT_FILTER, pb::FINE_TUNE_VIEW_BASIC));
  EXPECT_EQ(basic.change().type(), pb::Change::LEFT_FILTER);
  EXPECT_EQ(basic.change().fine_tune().display_name().size(), 300u);
  EXPECT_EQ(basic.change().fine_tune().transitions_size(), 0);
}

TEST(VersionChange, IsEncodedOnceForEachTypeAndView) {
  VersionChange change(Version(), nullptr, absl::Now(), "token");
  const grpc::ByteBuffer* first =
      &change.Encoded(pb::Change::UPDATED, pb::FINE_TUNE_VIEW_UNSPECIFIED);
  EXPECT_EQ(first, &change.Encoded(pb::Change::UPDATED, pb::FINE_TUNE_VIEW_BASIC));
  EXPECT_NE(first, &change.Encoded(pb::Change::UPDATED, pb::FINE_TUNE_VIEW_FULL));
}

TEST(VersionChange, LeavesAnEmptyTokenOut) {
  auto response =
      Parse(EncodeChange(*Version(), pb::Change::SNAPSHOT, pb::FINE_TUNE_VIEW_BASIC, ""));
  EXPECT_EQ(response.resume_token(), "");
  EXPECT_EQ(response.revision(), 7u);
  EXPECT_EQ(response.change().type(), pb::Change::SNAPSHOT);
}

TEST(VersionChange, SharesTheJobsBytes) {
  VersionPtr version = Version();
  grpc::ByteBuffer bytes =
      EncodeChange(*version, pb::Change::UPDATED, pb::FINE_TUNE_VIEW_BASIC, "t");
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(bytes.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[1].begin(), version->basic.begin());
}

}  // namespace
}  // namespace finetune
