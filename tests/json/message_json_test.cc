#include "server/json/message_json.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/json/json.h"

namespace finetune {
namespace {

namespace pb = segmind::finetune::v1;

std::string JsonOf(const google::protobuf::Message& message) {
  JsonWriter writer;
  WriteMessage(message, writer);
  return writer.text();
}

pb::FineTune WholeJob() {
  pb::FineTune job;
  job.set_name("fineTunes/a");
  job.set_display_name("\"cats\" \n\u2028 \xf0\x9f\x90\x88");
  (*job.mutable_labels())["team"] = "art";
  job.set_state(pb::FineTune::TRAINING);
  job.mutable_create_time()->set_seconds(1'700'000'000);
  job.mutable_create_time()->set_nanos(120'000'000);
  job.mutable_parameters()->set_steps(500);
  job.mutable_parameters()->set_learning_rate(0.25);
  job.mutable_parameters()->set_face_crop(false);
  (*job.mutable_parameters()->mutable_integers())["seed"] = 9'007'199'254'740'993;
  auto& extra = *job.mutable_parameters()->mutable_extra()->mutable_fields();
  extra["list"].mutable_list_value()->add_values()->set_number_value(3);
  job.mutable_failure()->set_reason(pb::Failure::OUT_OF_MEMORY);
  job.add_transitions()->set_state(pb::FineTune::QUEUED);
  job.add_transitions()->set_source(pb::StateTransition::WEBHOOK);
  job.set_revision(18'446'744'073'709'551'615U);
  job.set_details_pending(true);
  return job;
}

// Protobuf's own reader is the judge: what it reads is what was written.
TEST(MessageJson, IsReadBackByProtobufAsItWas) {
  const pb::FineTune job = WholeJob();
  pb::FineTune read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonOf(job), &read).ok()) << JsonOf(job);
  EXPECT_EQ(read.SerializeAsString(), job.SerializeAsString());
}

TEST(MessageJson, WritesNamesTimesAndBigNumbersAsProto3JsonDoes) {
  const std::string text = JsonOf(WholeJob());
  JsonParser parser;
  const JsonValue* json = parser.Parse(text);
  ASSERT_NE(json, nullptr) << text;
  EXPECT_STREQ((*json)["state"].GetString(), "TRAINING");
  EXPECT_STREQ((*json)["createTime"].GetString(), "2023-11-14T22:13:20.12Z");
  EXPECT_STREQ((*json)["revision"].GetString(), "18446744073709551615");
  EXPECT_STREQ((*json)["parameters"]["integers"]["seed"].GetString(), "9007199254740993");
  EXPECT_EQ(text.find('\n'), text.npos);
  EXPECT_EQ(JsonOf(pb::FineTune()), "{}");
}

TEST(MessageJson, WritesADurationAsSecondsForBrowsers) {
  pb::GatewayStatus status;
  for (const auto& [seconds, nanos, text] : {std::tuple(0, 0, "0s"),
                                             {17, 0, "17s"},
                                             {100, 500'000'000, "100.5s"},
                                             {0, 1, "0.000000001s"},
                                             {-3, -20'000'000, "-3.02s"},
                                             {0, -500'000'000, "-0.5s"}}) {
    status.mutable_store_lag()->set_seconds(seconds);
    status.mutable_store_lag()->set_nanos(nanos);
    EXPECT_EQ(JsonOf(status), absl::StrCat("{\"storeLag\":\"", text, "\"}"));
    pb::GatewayStatus read;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonOf(status), &read).ok());
    EXPECT_EQ(read.SerializeAsString(), status.SerializeAsString());
  }
}

TEST(MessageJson, WritesAnEnumWithoutANameAsANumber) {
  pb::FineTune job;
  job.set_state(static_cast<pb::FineTune::State>(99));
  EXPECT_EQ(JsonOf(job), "{\"state\":99}");
}

}  // namespace
}  // namespace finetune
