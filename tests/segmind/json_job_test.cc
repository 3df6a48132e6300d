#include "server/segmind/json_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "tests/segmind/samples.h"

namespace finetune {
namespace {

std::optional<UpstreamJob> ReadJob(const std::string& json) {
  JsonParser parser;
  const JsonValue* value = parser.Parse(json);
  if (value == nullptr) return std::nullopt;
  return JobInAnswer(*value, Scrubber());
}

// The value that `json` has as member `v`.
template <typename Reader>
auto Member(const std::string& json, Reader reader) {
  JsonParser parser;
  const JsonValue* value = parser.Parse("{\"v\":" + json + "}");
  EXPECT_NE(value, nullptr) << json;
  return reader((*value)["v"]);
}

std::optional<absl::Time> TimeIn(const std::string& json) {
  return Member(json, [](const JsonValue& v) { return TimeOf(v); });
}

TEST(Job, MayTellWhatItCosts) {
  EXPECT_EQ(ReadJob(R"({"id": "a"})")->billed_micros, std::nullopt);
  for (const char* name : {"credits_used", "credits_charged", "cost", "price"}) {
    const std::string field = "{\"id\": \"a\", \"" + std::string(name) + "\": ";
    EXPECT_EQ(ReadJob(field + "2.5}")->billed_micros, 2'500'000);
    EXPECT_EQ(ReadJob(field + "\"2.5\"}")->billed_micros, 2'500'000);
    for (const char* value : {"null", "-1", "\"much\"", "{}", "[1]", "true", "1e300"})
      EXPECT_EQ(ReadJob(field + value + "}")->billed_micros, std::nullopt) << value;
  }
}

TEST(Job, IsReadFromTheDocumentedDetails) {
  const auto job = ReadJob(Sample("details.json"));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "uuid");
  EXPECT_EQ(job->request_id, "");
  EXPECT_EQ(job->name, "fine-tune-job-name");
  EXPECT_EQ(job->fields.data_source_uri(),
            "https://your-bucket.s3.amazonaws.com/path/to/dataset.zip");
  EXPECT_EQ(job->fields.instance_prompt(), "sample instance prompt");
  EXPECT_EQ(job->status, "AVAILABLE");
  EXPECT_EQ(job->fields.source_type(), "AWS_S3");
  EXPECT_EQ(job->fields.base_model(), "BASE_MODEL_NAME");
  EXPECT_EQ(job->fields.slug(), "model-slug");
  EXPECT_EQ(job->is_public, false);
  EXPECT_EQ(job->error_message, std::nullopt);
  EXPECT_EQ(job->cloud_storage_url,
            "https://your-bucket.s3.amazonaws.com/path/to/model.safetensors");
  EXPECT_EQ(job->created, absl::FromUnixSeconds(1735689600));
  EXPECT_EQ(job->updated, absl::FromUnixSeconds(1735689600));
}

TEST(Job, IsReadFromTheDocumentedSubmitAnswer) {
  const auto job = ReadJob(Sample("submit.json"));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "uuid");
  EXPECT_EQ(job->status, "REQUESTED");
  EXPECT_EQ(job->name, "fine-tune-job-name");
  EXPECT_EQ(job->is_public, std::nullopt);
}

TEST(Job, HasTheIdThatIsReadAlone) {
  const Scrubber scrubber(Secret("SG_0123456789abcdef"));
  JsonParser parser;
  for (const char* text : {R"({"finetune_id":"f","id":"i"})",
                           R"({"id":"i","finetune_id":"f"})",
                           R"({"id":"i","finetune_id":null})",
                           R"({"id":7})",
                           R"({"id":-7.5})",
                           R"({"id":true})",
                           R"({"id":"","request_id":"r"})",
                           R"({"id":"a b/..","request_id":"r"})",
                           R"({"id":{}})",
                           R"({"id":["x"],"request_id":"r"})",
                           R"({"inner":{"id":"i"}})",
                           R"({"id":{"id":"i"}})",
                           R"([{"id":"i"}])",
                           R"(["id","i"])",
                           R"("id")",
                           "1",
                           R"({"id":"a","id":"b"})",
                           R"({"id":"a","id":".."})",
                           R"({"id":"a","id":null})",
                           R"({"\u0069d":"escaped"})",
                           R"({"id":"SG_0123456789abcdef","request_id":"r"})",
                           "{}",
                           "[]"}) {
    const JsonValue* value = parser.Parse(text);
    ASSERT_NE(value, nullptr) << text;
    const std::optional<UpstreamJob> job = JobOf(*value, scrubber);
    EXPECT_EQ(JobIdOf(text, parser, scrubber), job ? job->id : "") << text;
  }
  EXPECT_EQ(JobIdOf("{\"id\":\"a\"", parser, scrubber), std::nullopt);
  EXPECT_FALSE(parser.refused());
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  EXPECT_EQ(JobIdOf("{\"id\":\"a\",\"x\":" + deep + "}", parser, scrubber), std::nullopt);
  EXPECT_TRUE(parser.refused());
}

TEST(Job, TakesFinetuneIdBeforeIdBeforeRequestId) {
  auto job = ReadJob(R"({"request_id":"r","id":"i","finetune_id":"f"})");
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "f");
  EXPECT_EQ(job->request_id, "i");
  job = ReadJob(R"({"request_id":"r","id":null,"finetune_id":""})");
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "r");
  EXPECT_EQ(job->request_id, "");
  EXPECT_EQ(ReadJob(R"({"id":42})")->id, "42");
}

TEST(Job, NeedsAnId) {
  for (const char* json :
       {"{}", R"({"id":null})", R"({"id":""})", R"({"id":{}})", R"({"id":true})", "[]", "3",
        R"({"id":"a b"})", R"({"id":"a\u0000"})", R"({"finetune":null})"})
    EXPECT_FALSE(ReadJob(json)) << json;
  EXPECT_FALSE(ReadJob("{\"id\":\"" + std::string(1000, 'x') + "\"}"));
}

TEST(Job, HasThreeNamesForThePublicFlag) {
  for (const char* name : {"public_model", "segmind_public_model", "segmind_public"}) {
    for (const char* yes : {"true", "\"True\"", "\"true\"", "1", "\"1\"", "\" TRUE \""})
      EXPECT_EQ(ReadJob(std::string("{\"id\":\"x\",\"") + name + "\":" + yes + "}")->is_public,
                true);
    for (const char* no : {"false", "\"False\"", "0", "\"no\""})
      EXPECT_EQ(ReadJob(std::string("{\"id\":\"x\",\"") + name + "\":" + no + "}")->is_public,
                false);
    for (const char* neither : {"null", "\"maybe\"", "{}", "[true]"})
      EXPECT_EQ(ReadJob(std::string("{\"id\":\"x\",\"") + name + "\":" + neither + "}")->is_public,
                std::nullopt);
  }
}

TEST(Job, KeepsParametersByTheContractsFieldsAndTheRestAsExtra) {
  const auto job = ReadJob(R"({"id":"x","advance_parameters":{
      "steps":"2000","learning_rate":0.0001,"face_crop":"False","finetune_type":"LORA",
      "prompt":"p","lora_rank":16,"nested":{"a":[1,null]},"none":null}})");
  ASSERT_TRUE(job && job->parameters);
  pb::TrainingParameters want;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(steps: 2000
           learning_rate: 0.0001
           face_crop: false
           finetune_type: "LORA"
           extra {
             fields {
               key: "prompt"
               value { string_value: "p" }
             }
             fields {
               key: "lora_rank"
               value { number_value: 16 }
             }
             fields {
               key: "nested"
               value {
                 struct_value {
                   fields {
                     key: "a"
                     value {
                       list_value {
                         values { number_value: 1 }
                         values { null_value: NULL_VALUE }
                       }
                     }
                   }
                 }
               }
             }
           })pb",
      &want));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*job->parameters, want))
      << job->parameters->DebugString();
}

TEST(Job, ShowsAKnownParameterThatDoesNotFitAmongTheOthers) {
  const auto job =
      ReadJob(R"({"id":"x","advance_parameters":{"steps":3000000000,"learning_rate":"fast"}})");
  ASSERT_TRUE(job && job->parameters);
  EXPECT_FALSE(job->parameters->has_steps());
  EXPECT_EQ(job->parameters->extra().fields().at("steps").number_value(), 3e9);
  EXPECT_EQ(job->parameters->extra().fields().at("learning_rate").string_value(), "fast");
}

TEST(Job, HasNoIdThatAPathOrATerminalTakesForSomethingElse) {
  for (const char* id : {".", "..", "...", "a b", "a\\nb", "\\u0000", "", "a\\u007f"})
    EXPECT_FALSE(ReadJob("{\"finetune_id\":\"" + std::string(id) + "\"}")) << id;
  EXPECT_EQ(ReadJob(R"({"finetune_id":"..","id":"real"})")->id, "real");
}

TEST(Job, ShowsEveryWholeNumberExactly) {
  const auto job = ReadJob(R"({"id":"a","advance_parameters":{"seed":9007199254740993,
      "low":-9223372036854775808,"edge":9007199254740992,"wide":18446744073709551615,
      "huge":123456789012345678901234567890,"nested":{"s":[9007199254740993,1.5,1e30,"x"]},
      "steps":9007199254740995,"float":1e20},
      "model_information":{"seed":-9007199254740993,"n":7,"e":9007199254740992,"h":98765432109876543210}})");
  ASSERT_TRUE(job);
  const auto& integers = job->parameters->integers();
  EXPECT_EQ(integers.at("seed"), 9007199254740993);
  EXPECT_EQ(integers.at("low"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(integers.at("steps"), 9007199254740995);
  EXPECT_EQ(integers.size(), 3u);
  const auto& extra = job->parameters->extra().fields();
  EXPECT_EQ(extra.at("edge").number_value(), 9007199254740992.0);
  EXPECT_EQ(extra.at("wide").string_value(), "18446744073709551615");
  EXPECT_EQ(extra.at("huge").string_value(), "123456789012345678901234567890");
  EXPECT_EQ(extra.at("float").number_value(), 1e20);
  const auto& nested = extra.at("nested").struct_value().fields().at("s").list_value();
  EXPECT_EQ(nested.values(0).string_value(), "9007199254740993");
  EXPECT_EQ(nested.values(1).number_value(), 1.5);
  EXPECT_EQ(nested.values(2).number_value(), 1e30);
  EXPECT_EQ(nested.values(3).string_value(), "x");
  const auto& information = job->model_information->fields();
  EXPECT_EQ(information.at("seed").string_value(), "-9007199254740993");
  EXPECT_EQ(information.at("n").number_value(), 7);
  EXPECT_EQ(information.at("e").number_value(), 9007199254740992.0);
  EXPECT_EQ(information.at("h").string_value(), "98765432109876543210");
}

TEST(Job, CountsTimesThatItCannotRead) {
  const auto job =
      ReadJob(R"({"id":"a","created_ts":"some day","updated_ts":"2025-01-01T00:00Z"})");
  ASSERT_TRUE(job);
  EXPECT_EQ(job->created, std::nullopt);
  EXPECT_NE(job->updated, std::nullopt);
  EXPECT_EQ(job->unread_times, 1);
  EXPECT_EQ(ReadJob(R"({"id":"a","created_ts":null})")->unread_times, 0);
}

TEST(Job, ReadsTimesInAllTheirForms) {
  const absl::Time time = absl::FromUnixSeconds(1735689600);
  for (const char* json :
       {"\"2025-01-01T00:00:00Z\"", "\"2025-01-01T00:00:00.000Z\"", "\"2025-01-01T00:00:00\"",
        "\"2025-01-01 00:00:00\"", "\"2025-01-01T01:00:00+01:00\"", "\"2025-01-01\"", "1735689600",
        "1735689600.0", "1735689600000", "\"1735689600\"", "\"2025-01-01 00:00:00+00:00\""})
    EXPECT_EQ(TimeIn(json), time) << json;
  EXPECT_EQ(TimeIn("\"2025-01-01T00:00:00.123456Z\""), time + absl::Microseconds(123456));
  for (const char* json : {"null", "\"\"", "\"soon\"", "0", "-1", "1e300", "true", "{}", "NaN",
                           "\"infinite-future\"", "\"99999-01-01T00:00:00Z\""})
    EXPECT_EQ(TimeIn(json), std::nullopt) << json;
}

TEST(Job, CutsLongTextsAndRepairsTheirEncoding) {
  auto job = ReadJob("{\"id\":\"x\",\"name\":\"" + std::string(10 << 20, 'n') + "\"}");
  ASSERT_TRUE(job);
  EXPECT_EQ(job->name->size(), kMaxJsonString);
  job = ReadJob("{\"id\":\"x\",\"name\":\"a\xff\"}");
  EXPECT_EQ(job->name, "a\xef\xbf\xbd");
}

TEST(Job, IsReadWithoutWhatSignsItsUrls) {
  const auto job = ReadJob(
      R"({"id":"x","cloud_storage_url":"https://b.s3.amazonaws.com/w?X-Amz-Date=1&X-Amz-Signature=s3cret",
      "data_source_path":"https://h/d.zip?sv=1&sig=s3cret","slug":"gs://b/m?X-Goog-Signature=s3cret",
      "error_message":"cannot fetch https://h/d.zip?token=s3cret.",
      "model_information":{"preview":["https://h/p?Signature=s3cret",{"deep":"https://h/q?n=1&sig=s3cret"}]},
      "advance_parameters":{"init_image":"https://h/i?sig=s3cret","steps":3}})");
  ASSERT_TRUE(job);
  EXPECT_EQ(job->cloud_storage_url, "https://b.s3.amazonaws.com/w");
  EXPECT_EQ(job->signed_weights_url->Reveal(),
            "https://b.s3.amazonaws.com/w?X-Amz-Date=1&X-Amz-Signature=s3cret");
  EXPECT_EQ(job->fields.data_source_uri(), "https://h/d.zip");
  EXPECT_EQ(job->fields.slug(), "gs://b/m");
  EXPECT_EQ(job->error_message, "cannot fetch https://h/d.zip");
  const std::string facts = job->model_information->ShortDebugString();
  EXPECT_THAT(facts, testing::HasSubstr("https://h/q?n=1"));
  EXPECT_THAT(facts, testing::Not(testing::HasSubstr("s3cret")));
  EXPECT_EQ(job->parameters->extra().fields().at("init_image").string_value(), "https://h/i");
  EXPECT_FALSE(ReadJob(R"({"id":"x","cloud_storage_url":"https://h/w"})")->signed_weights_url);
}

TEST(Job, FindsTheWordsInAnErrorThatIsAnObject) {
  EXPECT_EQ(ReadJob(R"({"id":"x","error_message":{"message":"Download failed"}})")->error_message,
            "Download failed");
  EXPECT_EQ(ReadJob(R"({"id":"x","error_message":""})")->error_message, "");
  EXPECT_EQ(ReadJob(R"({"id":"x","error_message":[]})")->error_message, std::nullopt);
}

TEST(Struct, DropsWhatIsNestedTooDeeply) {
  std::string json = "1";
  for (int i = 0; i < 100; ++i) json = "{\"a\":" + json + "}";
  const auto job = ReadJob("{\"id\":\"x\",\"model_information\":" + json + "}");
  ASSERT_TRUE(job && job->model_information);
  int depth = 0;
  for (const auto* at = &*job->model_information; at->fields_size() > 0; ++depth)
    at = &at->fields().at("a").struct_value();
  EXPECT_EQ(depth, 27);
  // Clients must be able to parse a list that has it.
  pb::ListFineTunesResponse list;
  *list.add_fine_tunes()->mutable_model_information() = *job->model_information;
  pb::ListFineTunesResponse copy;
  EXPECT_TRUE(copy.ParseFromString(list.SerializeAsString()));
}

TEST(Struct, KeepsNoMoreThanItsBudget) {
  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) many += "\"k" + std::to_string(i) + "\":1,";
  many.back() = '}';
  EXPECT_LE(ReadJob("{\"id\":\"x\",\"model_information\":" + many + "}")
                ->model_information->fields_size(),
            4096);
  const std::string large = "{\"a\":[" + std::string(20, ' ') + "\"" + std::string(100'000, 'x') +
                            "\"" +
                            [] {
                              std::string more;
                              for (int i = 0; i < 20; ++i)
                                more += ",\"" + std::string(60'000, 'y') + "\"";
                              return more;
                            }() +
                            "]}";
  EXPECT_LE(ReadJob("{\"id\":\"x\",\"model_information\":" + large + "}")
                ->model_information->ByteSizeLong(),
            300'000);
}

TEST(SubmitBody, IsTheDocumentedOne) {
  pb::FineTune fine_tune;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(display_name: "ignored"
           data_source_uri: "any public zip url"
           instance_prompt: "1MAN, running in brown suit"
           trigger_word: "1MAN"
           base_model: "FAST_FLUX"
           theme: "subject"
           parameters { steps: 2000 face_crop: false finetune_type: "LORA" })pb",
      &fine_tune));
  EXPECT_EQ(SubmitBody(fine_tune, "fastfluxtest1"),
            R"({"name":"fastfluxtest1","data_source_path":"any public zip url",)"
            R"("instance_prompt":"1MAN, running in brown suit","trigger_word":"1MAN",)"
            R"("base_model":"FAST_FLUX","theme":"subject","segmind_public":false,)"
            R"("advance_parameters":{"steps":2000,"face_crop":false,"finetune_type":"LORA"}})");
}

TEST(SubmitBody, WritesWholeNumbersAsIntegersAndLeavesOutWhatIsNotSet) {
  pb::FineTune fine_tune;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(base_model: "FLUX"
           theme: "KONTEXT"
           train_type: "LORA"
           machine_type: "NVIDIA_H100"
           visibility: PUBLIC
           parameters {
             learning_rate: 0.0001
             extra {
               fields {
                 key: "n"
                 value {
                   list_value {
                     values { number_value: 16 }
                     values { number_value: -9007199254740992 }
                     values { number_value: 0.5 }
                     values { number_value: 1e300 }
                     values { bool_value: true }
                     values { null_value: NULL_VALUE }
                     values { struct_value {} }
                     values { string_value: "\"" }
                   }
                 }
               }
             }
           })pb",
      &fine_tune));
  EXPECT_EQ(SubmitBody(fine_tune, "n"),
            R"({"name":"n","base_model":"FLUX","theme":"KONTEXT","train_type":"LORA",)"
            R"("machine_type":"NVIDIA_H100","segmind_public":true,"advance_parameters":)"
            R"({"learning_rate":0.0001,"n":[16,-9007199254740992,0.5,1e300,true,null,{},"\""]}})");
}

TEST(SubmitBody, WritesBigIntegersExactly) {
  pb::FineTune job;
  (*job.mutable_parameters()->mutable_integers())["seed"] = 9007199254740993;
  (*job.mutable_parameters()->mutable_integers())["least"] = std::numeric_limits<int64_t>::min();
  const std::string body = SubmitBody(job, "name");
  EXPECT_THAT(body, testing::HasSubstr(R"("seed":9007199254740993)"));
  EXPECT_THAT(body, testing::HasSubstr(R"("least":-9223372036854775808)"));
}

}  // namespace
}  // namespace finetune
