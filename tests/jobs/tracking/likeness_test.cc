#include "server/jobs/tracking/likeness.h"

#include "gtest/gtest.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

const absl::Time kSubmitted = absl::FromUnixSeconds(1'700'000'000);

class LikenessTest : public ::testing::Test {
 protected:
  LikenessTest() {
    intent_.set_marker(MakeMarker("key", "alice", "r", 0));
    *intent_.mutable_upstream_time() = ToProto(kSubmitted);
    pb::FineTune& wanted = *intent_.mutable_fine_tune();
    wanted.set_display_name("my cats");
    wanted.set_data_source_uri("https://data.test/cats.zip?signature=1");
    wanted.set_instance_prompt("a photo of TOK cat");
    wanted.set_trigger_word("TOK");
    wanted.set_base_model("FAST_FLUX");
    job_.id = "up";
    job_.name = AddMarker("my cats", intent_.marker());
    job_.fields.set_data_source_uri("https://data.test/cats.zip");
    job_.fields.set_instance_prompt("a photo of TOK cat");
    job_.fields.set_base_model("FAST_FLUX");
    job_.created = kSubmitted + absl::Seconds(1);
  }
  Likeness Of(bool details_read = true) const { return LikenessOf(intent_, job_, details_read); }

  record::Intent intent_;
  UpstreamJob job_;
};

TEST_F(LikenessTest, IsClearWhereAllAgree) {
  EXPECT_TRUE(Of().clear);
  EXPECT_FALSE(Of().contradicted);
}

TEST_F(LikenessTest, IsNeverClearBeforeDetailsWereRead) {
  EXPECT_FALSE(Of(false).clear);
  EXPECT_FALSE(Of(false).none);
}

TEST_F(LikenessTest, DoesNotNeedTheMarkerWherePromptAndDataAgree) {
  for (const char* name : {"my cats", "MY CATS", "my_cats-v1", "My Ca", "something else"}) {
    job_.name = name;
    EXPECT_TRUE(Of().clear) << name;
  }
  job_.name.reset();
  EXPECT_TRUE(Of().clear);
}

TEST_F(LikenessTest, AMarkedCopyWithAnotherPromptDataOrModelIsNotClear) {
  for (auto change : std::vector<void (*)(UpstreamJob&)>{
           [](UpstreamJob& job) { job.fields.set_instance_prompt("a drawing of XYZ dog"); },
           [](UpstreamJob& job) { job.fields.set_data_source_uri("https://data.test/dogs.zip"); },
           [](UpstreamJob& job) { job.fields.set_base_model("QWEN"); },
           [](UpstreamJob& job) { job.fields.set_trigger_word("XYZ"); },
           [](UpstreamJob& job) { job.created = kSubmitted + absl::Hours(2); },
           [](UpstreamJob& job) { job.created = kSubmitted - absl::Hours(2); }}) {
    const UpstreamJob before = job_;
    change(job_);
    EXPECT_FALSE(Of().clear);
    EXPECT_EQ(Of().clear_but_for_time, job_.created != before.created);
    // Nor is it proven that it is another.
    EXPECT_FALSE(Of().none);
    job_ = before;
  }
}

TEST_F(LikenessTest, WithoutAMarkerAnotherPromptModelOrTriggerIsAnotherJob) {
  job_.name = "my cats";
  for (auto change : std::vector<void (*)(UpstreamJob&)>{
           [](UpstreamJob& job) { job.fields.set_instance_prompt("another one"); },
           [](UpstreamJob& job) { job.fields.set_base_model("QWEN"); },
           [](UpstreamJob& job) { job.fields.set_trigger_word("XYZ"); }}) {
    const UpstreamJob before = job_;
    change(job_);
    EXPECT_TRUE(Of().none);
    job_ = before;
  }
}

TEST_F(LikenessTest, TimeAloneExcludesNothing) {
  job_.name = "my cats";
  job_.created = kSubmitted - absl::Hours(24 * 365);
  EXPECT_FALSE(Of().none);
  EXPECT_FALSE(Of().clear);
  EXPECT_TRUE(Of().clear_but_for_time);
  EXPECT_FALSE(Of(/*details_read=*/false).clear_but_for_time);
  intent_.clear_upstream_time();
  EXPECT_TRUE(Of().clear) << "a clock that is not known says nothing";
}

TEST_F(LikenessTest, LooksThroughWhatSegmindDoesToTexts) {
  job_.fields.set_instance_prompt("  A photo of  tok cat ");
  job_.fields.set_base_model("fast-flux");
  job_.fields.set_data_source_uri("HTTPS://data.test/cats.zip?X-Amz-Signature=2");
  job_.name = "MY CATS";
  EXPECT_TRUE(Of().clear);
  job_.fields.set_data_source_uri("https://segmind-datasets.test/4711/cats.zip");
  EXPECT_FALSE(Of().contradicted) << "a copy of its own";
  job_.fields.set_instance_prompt("TOK, a photo of TOK cat, high quality");
  EXPECT_FALSE(Of().contradicted) << "something was put around it";
  EXPECT_FALSE(Of().none);
}

TEST_F(LikenessTest, WhatIsWrittenOtherwiseContradictsNothing) {
  pb::FineTune& wanted = *intent_.mutable_fine_tune();
  wanted.set_instance_prompt("TOK cat & dog \U0001F408 in a caf\u00e9, \"studio\" light");
  wanted.set_data_source_uri("https://data.test/~me/my cats%2B\u00e9.zip");
  job_.fields.set_data_source_uri("https://data.test/%7Eme/my%20cats+%C3%A9.zip?x=1");
  for (const char* prompt :
       {"TOK cat &amp; dog \U0001F408 in a caf\u00e9, &quot;studio&quot; light",
        "TOK cat & dog  in a caf\u00e9, \u201cstudio\u201d light",
        "TOK cat & dog ? in a caf?, \"studio\" light",
        "TOK cat & dog \u00f0\u0178 in a caf\u00c3\u00a9, \"studio\" light"}) {
    job_.fields.set_instance_prompt(prompt);
    EXPECT_TRUE(Of().clear) << prompt;
    EXPECT_TRUE(Of().same_data) << prompt;
  }
  job_.fields.set_instance_prompt("TOK cat & cow \U0001F408 in a caf\u00e9, \"studio\" light");
  EXPECT_FALSE(Of().clear) << "another word";
}

TEST_F(LikenessTest, FewLettersDoNotMakeTextsOfOtherScriptsOne) {
  intent_.mutable_fine_tune()->set_instance_prompt("TOK \u732b");
  job_.fields.set_instance_prompt("TOK \u72d7");
  EXPECT_FALSE(Of().clear);
  job_.name = "my cats";
  intent_.mutable_fine_tune()->set_instance_prompt("a photo of a TOK \u732b");
  job_.fields.set_instance_prompt("a photo of a TOK \u72d7");
  EXPECT_FALSE(Of().clear) << "the letters alone do not tell which";
}

TEST_F(LikenessTest, AnythingElseIsAnotherJob) {
  UpstreamJob other;
  other.id = "other";
  other.name = "dogs";
  other.fields.set_data_source_uri("https://data.test/dogs.zip");
  other.fields.set_base_model("FAST_FLUX");
  EXPECT_TRUE(LikenessOf(intent_, other, false).none);
  other.name = AddMarker("my cats", MakeMarker("key", "alice", "another", 0));
  other.fields.set_data_source_uri(job_.fields.data_source_uri());
  other.fields.set_instance_prompt(job_.fields.instance_prompt());
  EXPECT_TRUE(LikenessOf(intent_, other, true).none) << "it has another one's marker";
}

}  // namespace
}  // namespace finetune
