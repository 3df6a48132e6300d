#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/dataset_check.h"
#include "tests/emulator/distort.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"
#include "tests/emulator/job.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/json.h"
#include "tests/emulator/lifecycle.h"
#include "tests/emulator/storage.h"
#include "tests/emulator/webhooks.h"
#include "tests/emulator/zip_file.h"

namespace finetune::emulator {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::vector<std::string> MemberNames(const std::string& json) {
  std::vector<std::string> names;
  const auto document = ParseJson(json);
  if (!document || !document->IsObject()) return names;
  for (const auto& member : document->GetObject()) names.push_back(member.name.GetString());
  return names;
}

Fault FaultOf(const std::string& json) {
  Fault fault;
  const auto document = ParseJson(json);
  EXPECT_TRUE(document) << json;
  EXPECT_EQ(ParseFault(*document, &fault), std::nullopt) << json;
  return fault;
}

std::optional<std::string> FaultError(const std::string& json) {
  Fault fault;
  return ParseFault(*ParseJson(json), &fault);
}

// What CheckZip says of a zip with these entries.
std::optional<std::string> Checked(const std::vector<std::string>& names) {
  FILE* file = OpenZip(names);
  const std::optional<std::string> wrong = CheckZip(fileno(file));
  std::fclose(file);
  return wrong;
}

TEST(JobShapes, HaveExactlyTheDocumentedFields) {
  const Settings settings;
  const Job job = PrefilledJob(3, settings);
  EXPECT_THAT(
      MemberNames(DetailsText(job, settings)),
      UnorderedElementsAre("id", "finetune_id", "name", "data_source_path", "instance_prompt",
                           "status", "source_type", "base_model", "slug", "public_model",
                           "error_message", "cloud_storage_url", "created_ts", "updated_ts"));
  EXPECT_THAT(MemberNames(ListItemText(job, settings)),
              UnorderedElementsAre(
                  "id", "data_source_path", "name", "status", "error_message", "segmind_model_path",
                  "advance_parameters", "segmind_public_model", "train_type", "source_type",
                  "base_model", "theme", "cloud_storage_url", "finetune_id", "model_information"));
}

TEST(JobShapes, SlugIsUuidAndNameInLowerCase) {
  EXPECT_EQ(SlugOf("0A1b", "My Cat/2"), "0A1b-my-cat-2");
}

TEST(JobStore, KeepsTheListsBodyUntilAJobChanges) {
  LiveSettings settings{Settings()};
  JobStore jobs(&settings);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(jobs.Add(PrefilledJob(i, *settings.Get())));
  const auto body = jobs.ListBody();
  EXPECT_EQ(jobs.ListBody(), body);
  jobs.Update(UuidOf(1), [](Job* job) { job->status = "FAILED"; });
  EXPECT_NE(*jobs.ListBody(), *body);
  EXPECT_FALSE(jobs.Add(PrefilledJob(1, *settings.Get())));
}

TEST(JobStore, ShowsAHiddenJobAfterItsListCalls) {
  LiveSettings settings{Settings()};
  JobStore jobs(&settings);
  Job job = PrefilledJob(0, *settings.Get());
  job.hidden_lists = 2;
  ASSERT_TRUE(jobs.Add(job));
  EXPECT_EQ(*jobs.ListBody(), "[]");
  EXPECT_EQ(*jobs.ListBody(), "[]");
  EXPECT_THAT(*jobs.ListBody(), HasSubstr(job.id));
}

TEST(Form, ReadsMultipartAndUrlEncoded) {
  const auto plain =
      ParseForm("application/x-www-form-urlencoded", "request_id=a%2Fb&segmind_public=True&empty");
  ASSERT_TRUE(plain);
  EXPECT_THAT(*plain, UnorderedElementsAre(Pair("request_id", "a/b"), Pair("empty", ""),
                                           Pair("segmind_public", "True")));
  const auto parts = ParseForm("multipart/form-data; boundary=xX",
                               "--xX\r\nContent-Disposition: form-data; name=\"request_id\"\r\n\r\n"
                               "id-1\r\n--xX\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n"
                               "\r\n--xX--\r\n");
  ASSERT_TRUE(parts);
  EXPECT_THAT(*parts, UnorderedElementsAre(Pair("request_id", "id-1"), Pair("e", "")));
}

TEST(Form, RefusesWhatIsNoForm) {
  EXPECT_FALSE(ParseForm("application/json", "{}"));
  EXPECT_FALSE(ParseForm("multipart/form-data", "--xX--"));
  EXPECT_FALSE(ParseForm("multipart/form-data; boundary=xX", "--xX\r\nbroken"));
  EXPECT_FALSE(ParseForm("multipart/form-data; boundary=xX", "--xX\r\n\r\n\r\n--xX--"));
}

TEST(Range, IsReadAsTheStandardSays) {
  ByteRange range;
  ASSERT_EQ(ParseRange("bytes=10-19", 100, &range), RangeKind::kPart);
  EXPECT_EQ(range.first, 10u);
  EXPECT_EQ(range.last, 19u);
  ASSERT_EQ(ParseRange("bytes=90-", 100, &range), RangeKind::kPart);
  EXPECT_EQ(range.last, 99u);
  ASSERT_EQ(ParseRange("bytes=-5", 100, &range), RangeKind::kPart);
  EXPECT_EQ(range.first, 95u);
  EXPECT_EQ(ParseRange("bytes=100-", 100, &range), RangeKind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=9-1", 100, &range), RangeKind::kWhole);
  EXPECT_EQ(ParseRange("bytes=0-1,5-6", 100, &range), RangeKind::kWhole);
  EXPECT_EQ(ParseRange("", 100, &range), RangeKind::kWhole);
}

TEST(Weights, AreTheSameBytesFromAnyOffset) {
  const Weights weights("id-1", 5000);
  std::string whole(weights.size(), '\0');
  ASSERT_TRUE(weights.Read(0, whole.data(), whole.size()));
  for (const size_t offset : {size_t{0}, size_t{3}, size_t{120}, size_t{1003}, size_t{4990}}) {
    std::string part(std::min<size_t>(1000, whole.size() - offset), '\0');
    ASSERT_TRUE(weights.Read(offset, part.data(), part.size()));
    EXPECT_EQ(part, whole.substr(offset, part.size())) << offset;
  }
  EXPECT_NEAR(static_cast<double>(weights.size()), 5000, 16);
}

TEST(Weights, CanBeLargerThanMemory) {
  const Weights weights("id-1", 1ull << 45);
  char byte = 0;
  EXPECT_TRUE(weights.Read((1ull << 45) - 1, &byte, 1));
}

TEST(Zip, IsRefusedInSegmindsWords) {
  EXPECT_EQ(Checked({"a.jpg", "b.png"}), std::nullopt);
  EXPECT_EQ(Checked({"i00.jpg", "i00.txt", "metadata.jsonl"}), std::nullopt);  // With captions.
  EXPECT_THAT(Checked({"photos/a.jpg"}), testing::Optional(HasSubstr("do not create subfolders")));
  EXPECT_THAT(Checked({}), testing::Optional(HasSubstr("Looks like empty dataset")));
}

TEST(Faults, AreUsedUpByTheCallsTheyName) {
  FaultBook book(1);
  book.Add(FaultOf(R"({"call":"list","kind":"status","code":503,"count":2,"after":1})"));
  EXPECT_TRUE(book.Take({"submit", "", ""}).empty());
  EXPECT_TRUE(book.Take({"list", "", ""}).empty());
  EXPECT_EQ(book.Take({"list", "", ""}).size(), 1u);
  EXPECT_EQ(book.Take({"list", "", ""}).size(), 1u);
  EXPECT_TRUE(book.Take({"list", "", ""}).empty());
  EXPECT_FALSE(book.any());
}

TEST(Faults, CanBeForOneJobInOneStage) {
  FaultBook book(1);
  book.Add(FaultOf(R"({"call":"details","kind":"latency","ms":1,"job":"cat","stage":"QUEUED"})"));
  EXPECT_TRUE(book.Take({"details", "dog", "QUEUED"}).empty());
  EXPECT_TRUE(book.Take({"details", "cat", "AVAILABLE"}).empty());
  EXPECT_EQ(book.Take({"details", "the cat", "QUEUED"}).size(), 1u);
}

TEST(Faults, AreRefusedWithTheReason) {
  EXPECT_THAT(FaultError(R"({})"), testing::Optional(HasSubstr("needs kind")));
  EXPECT_THAT(FaultError(R"({"kind":"x"})"), testing::Optional(HasSubstr("no kind x")));
  EXPECT_THAT(FaultError(R"({"kind":"latency","mss":1})"),
              testing::Optional(HasSubstr("no parameter mss")));
  EXPECT_THAT(FaultError(R"({"kind":"webhook_lost","call":"list"})"),
              testing::Optional(HasSubstr("cannot spoil")));
  EXPECT_THAT(FaultError(R"({"kind":"latency","count":0})"), testing::Optional(HasSubstr("count")));
  EXPECT_THAT(FaultError(R"({"kind":"redirect_to"})"), testing::Optional(HasSubstr("needs url")));
}

TEST(Distortion, ChangesBodiesAsAsked) {
  const std::string list =
      R"([{"id":"b","name":"new","status":"AVAILABLE","public":true,"steps":5},)"
      R"({"id":"a","name":"old","status":"QUEUED"}])";
  EXPECT_EQ(DistortBody(FaultOf(R"({"kind":"vanish"})"), list),
            R"([{"id":"a","name":"old","status":"QUEUED"}])");
  EXPECT_THAT(DistortBody(FaultOf(R"({"kind":"vanish","job":"a"})"), list),
              testing::Not(HasSubstr("old")));
  EXPECT_THAT(DistortBody(FaultOf(R"({"kind":"strings"})"), list),
              HasSubstr(R"("public":"True","steps":"5")"));
  EXPECT_EQ(DistortBody(FaultOf(R"({"kind":"wrapped_list","key":"data"})"), list),
            R"({"data":)" + list + "}");
  EXPECT_THAT(DistortBody(FaultOf(R"({"kind":"unknown_status","status":"NEW","job":"b"})"), list),
              testing::AllOf(HasSubstr(R"("status":"NEW")"), HasSubstr(R"("status":"QUEUED")")));
  EXPECT_EQ(DistortBody(FaultOf(R"({"kind":"status_backwards"})"),
                        R"({"finetune":{"status":"AVAILABLE"}})"),
            R"({"finetune":{"status":"INFERENCE_QUEUED"}})");
  EXPECT_EQ(DistortBody(FaultOf(R"({"kind":"set_field","field":"name","value":null})"),
                        R"({"finetune":{"name":"x"}})"),
            R"({"finetune":{"name":null}})");
  EXPECT_FALSE(ParseJson(DistortBody(FaultOf(R"({"kind":"malformed"})"), list)));
  EXPECT_EQ(DistortBody(FaultOf(R"({"kind":"strings"})"), "200 OK"), "200 OK");
}

TEST(Webhooks, KnowBothVocabularies) {
  EXPECT_TRUE(IsAnnounced("INFERENCE_QUEUED", "model"));
  EXPECT_FALSE(IsAnnounced("DATA_PROCESSING", "model"));
  EXPECT_TRUE(IsAnnounced("DATA_PROCESSING", "webhook"));
  EXPECT_FALSE(IsAnnounced("INFERENCE_QUEUED", "webhook"));
  EXPECT_FALSE(IsAnnounced("FAILED", "webhook"));
}

TEST(Stages, OfNoLengthAreSkippedExceptTheDatasets) {
  Settings settings;
  EXPECT_EQ(NextStage("REQUESTED", settings), "QUEUED");
  settings.stage_seconds["QUEUED"] = 0;
  settings.stage_seconds["DATA_PROCESSING"] = 0;
  EXPECT_EQ(NextStage("REQUESTED", settings), "DATA_PROCESSING");
  EXPECT_EQ(NextStage("AVAILABLE", settings), "");
  EXPECT_EQ(NextStage("FAILED", settings), "");
}

TEST(Settings, AreRefusedWithTheReason) {
  Settings settings;
  EXPECT_EQ(
      ApplySettings(*ParseJson(R"({"time_scale":5,"stage_seconds":{"QUEUED":1}})"), &settings),
      std::nullopt);
  EXPECT_EQ(settings.time_scale, 5);
  for (const char* bad : {R"({"nothing":1})", R"({"time_scale":-1})", R"({"webhook_shape":"x"})",
                          R"({"stage_seconds":{"X":1}})", R"({"distinct_ids":1})", R"([])"}) {
    EXPECT_TRUE(ApplySettings(*ParseJson(bad), &settings)) << bad;
  }
}

TEST(Json, RefusesDeepNestingAndWrongUtf8) {
  EXPECT_FALSE(ParseJson(std::string(100000, '[')));
  EXPECT_FALSE(ParseJson("\"\xff\""));
  EXPECT_TRUE(ParseJson("[\"]]]]\"]"));
}

}  // namespace
}  // namespace finetune::emulator
