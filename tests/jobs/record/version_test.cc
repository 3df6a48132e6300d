#include "server/jobs/record/version.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/time_proto.h"

namespace finetune {
namespace {

record::FineTuneRecord FullRecord() {
  record::FineTuneRecord record;
  pb::FineTune& job = *record.mutable_fine_tune();
  job.set_name("fineTunes/5f0c");
  job.set_display_name("cat");
  job.set_data_source_uri("https://example.com/cat.zip");
  job.set_base_model("FAST_FLUX");
  job.set_theme("subject");
  job.set_visibility(pb::FineTune::PUBLIC);
  (*job.mutable_labels())["team"] = "vision";
  (*job.mutable_labels())["a.b/c"] = "";
  job.mutable_parameters()->set_steps(1000);
  job.set_state(pb::FineTune::TRAINING);
  job.set_upstream_id("up-1");
  job.set_creator("spiffe://corp/a");
  *job.mutable_create_time() = ToProto(absl::FromUnixMillis(1'700'000'000'123));
  *job.mutable_update_time() = ToProto(absl::FromUnixMillis(-1500));
  (*job.mutable_model_information()->mutable_fields())["size"].set_number_value(3);
  for (int i = 0; i < 3; ++i) job.add_transitions()->set_upstream_status("S" + std::to_string(i));
  job.set_revision(8);
  job.set_etag("8-abc");
  record.set_upstream_request_id("req-1");
  record.set_marker("m1");
  record.set_first_revision(5);
  *record.mutable_read_time() = ToProto(absl::FromUnixSeconds(1'700'000'100));
  record.set_read(17);
  record.set_shown_read(16);
  record.set_dormant(true);
  record.set_details_known(true);
  record.set_request_id("r-1");
  return record;
}

pb::FineTune Parse(const grpc::Slice& slice) {
  pb::FineTune job;
  EXPECT_TRUE(job.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
  return job;
}

TEST(Version, HoldsWhatFiltersAndJoinsLookAt) {
  VersionPtr version = MakeVersion(FullRecord());
  EXPECT_EQ(version->id, "5f0c");
  EXPECT_EQ(version->revision, 8u);
  EXPECT_EQ(version->first_revision, 5u);
  EXPECT_EQ(version->state, pb::FineTune::TRAINING);
  EXPECT_EQ(version->visibility, pb::FineTune::PUBLIC);
  EXPECT_EQ(version->base_model, "FAST_FLUX");
  EXPECT_EQ(version->theme, "subject");
  EXPECT_EQ(version->creator, "spiffe://corp/a");
  EXPECT_EQ(version->display_name, "cat");
  EXPECT_EQ(version->upstream_id, "up-1");
  EXPECT_EQ(version->create_time, absl::FromUnixMillis(1'700'000'000'123));
  EXPECT_EQ(version->update_time, absl::FromUnixMillis(-1500));
  EXPECT_THAT(version->labels,
              testing::ElementsAre(testing::Pair("a.b/c", ""), testing::Pair("team", "vision")));
  EXPECT_EQ(version->upstream_request_id, "req-1");
  EXPECT_EQ(version->marker, "m1");
  EXPECT_EQ(version->request_id, "r-1");
  EXPECT_EQ(version->read_time, absl::FromUnixSeconds(1'700'000'100));
  EXPECT_EQ(version->read, 17u);
  EXPECT_EQ(version->shown_read, 16u);
  EXPECT_TRUE(version->dormant);
  EXPECT_TRUE(version->details_known);
  EXPECT_FALSE(version->active()) << "a dormant job does not go on";
}

TEST(Version, BytesOfTheFullViewAreTheWholeJob) {
  EXPECT_EQ(Parse(MakeVersion(FullRecord())->Bytes(pb::FINE_TUNE_VIEW_FULL)).DebugString(),
            FullRecord().fine_tune().DebugString());
}

TEST(Version, BytesOfTheBasicViewLackTransitionsAndModelInformationAndShareMemory) {
  VersionPtr version = MakeVersion(FullRecord());
  pb::FineTune expected = FullRecord().fine_tune();
  expected.clear_transitions();
  expected.clear_model_information();
  EXPECT_EQ(Parse(version->Bytes(pb::FINE_TUNE_VIEW_BASIC)).DebugString(), expected.DebugString());
  EXPECT_EQ(Parse(version->Bytes(pb::FINE_TUNE_VIEW_UNSPECIFIED)).DebugString(),
            expected.DebugString());
  EXPECT_EQ(version->basic.begin(), version->full.begin());
}

TEST(Version, ConvertsBackToTheRecordItWasMadeOf) {
  EXPECT_EQ(SerialiseRecord(ToRecord(*MakeVersion(FullRecord()))), SerialiseRecord(FullRecord()));
}

TEST(Version, RefusesBytesThatAreNoRecord) {
  const std::string whole = SerialiseRecord(FullRecord());
  EXPECT_NE(ParseVersion(whole), nullptr);
  EXPECT_EQ(ParseVersion(""), nullptr);
  EXPECT_EQ(ParseVersion("\xff\xff\xff"), nullptr);
  EXPECT_EQ(ParseVersion(whole.substr(0, whole.size() - 1)), nullptr);
  EXPECT_EQ(ParseVersion(whole.substr(0, 40)), nullptr);
  record::FineTuneRecord nameless = FullRecord();
  nameless.mutable_fine_tune()->set_name("something");
  EXPECT_EQ(ParseVersion(SerialiseRecord(nameless)), nullptr);
}

// All that a version is ever made into again is looked at when it is read: nothing that a disk kept
// may end the process later.
TEST(Version, RefusesBytesOfWhichAPartCannotBecomeAMessage) {
  record::FineTuneRecord record = FullRecord();
  record.mutable_fine_tune()->mutable_failure()->set_message("broken here");
  const std::string whole = SerialiseRecord(record);
  ASSERT_NE(ParseVersion(whole), nullptr);
  std::string no_utf8 = whole;
  no_utf8.replace(no_utf8.find("broken"), 1, "\xff");
  EXPECT_EQ(ParseVersion(no_utf8), nullptr);
  std::string no_message = whole;
  // The length of the text within the failure.
  no_message[no_message.find("broken") - 1] = 100;
  EXPECT_EQ(ParseVersion(no_message), nullptr);
}

TEST(Version, EveryDamagedByteIsSurvived) {
  const std::string whole = SerialiseRecord(FullRecord());
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      if (const VersionPtr version = ParseVersion(damaged)) ToRecord(*version);
    }
  }
}

TEST(Names, AreFineTunesSlashId) {
  EXPECT_EQ(NameOf("a-1"), "fineTunes/a-1");
  EXPECT_EQ(IdOf("fineTunes/a-1"), "a-1");
  EXPECT_EQ(IdOf("fineTunes/"), std::nullopt);
  EXPECT_EQ(IdOf("fineTunes/a/b"), std::nullopt);
  EXPECT_EQ(IdOf("finetunes/a"), std::nullopt);
  EXPECT_EQ(IdOf(""), std::nullopt);
}

}  // namespace
}  // namespace finetune
