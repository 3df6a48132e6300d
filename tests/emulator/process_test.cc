#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulator/emulator_process.h"
#include "tests/emulator/json.h"
#include "tests/emulator/zip_file.h"

namespace finetune::emulator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ZipOf(const std::vector<std::string>& names) {
  FILE* file = OpenZip(names);
  std::string bytes(1 << 16, '\0');
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
  std::fclose(file);
  return bytes;
}

TEST_F(EmulatorTest, RefusesAsDocumented) {
  const std::string list = url_ + "/finetune/request/list";
  const std::string details = url_ + "/finetune/request/details";
  EXPECT_THAT(Call("GET", list).body, HasSubstr("Missing Authorization or x-api-key in header"));
  EXPECT_EQ(Call("GET", list, {"x-api-key: wrong"}).code, 401);
  Control("settings", R"({"old_api_key":"wrong"})");
  EXPECT_EQ(Call("GET", list, {"x-api-key: wrong"}).code, 200);
  Control("settings", R"({"old_api_key":""})");
  EXPECT_EQ(Call("GET", list, {"x-api-key: wrong"}).code, 401);
  EXPECT_EQ(Call("GET", list, {"x-api-key: "}).code, 401);
  const Reply wrong_verb = Api("POST", "/finetune/request/list", "{}");
  EXPECT_EQ(wrong_verb.code, 405);
  EXPECT_THAT(wrong_verb.head, HasSubstr("Content-Type: text/html"));
  EXPECT_EQ(Call("GET", details, {kKey}).code, 400);
  EXPECT_EQ(Call("GET", details, {kKey}, R"({"request_id":"x"})").code, 406);
  EXPECT_EQ(Call("GET", details, {kKey, kJson}, "{").code, 400);
  EXPECT_EQ(Details("unknown").code, 404);
  EXPECT_EQ(Api("POST", "/finetune/request/submit", R"({"name":"x"})").code, 400);
  EXPECT_EQ(Submit("http://a/b.zip", "NO_SUCH_MODEL").code, 406);
  const std::string access = "/finetune/request/access-update";
  EXPECT_EQ(Api("PUT", access, "request_id=x&segmind_public=true", kForm).code, 400);
  EXPECT_EQ(Api("PUT", access, "request_id=x&segmind_public=True", kForm).code, 404);
  EXPECT_EQ(Api("PUT", access, "{}", kJson).code, 406);
  EXPECT_EQ(List().body, "[]");
  EXPECT_EQ(Api("GET", "/v1/get-user-credits").body, R"({"credits":1000000,"free-credits":0})");
}

TEST_F(EmulatorTest, PlaysAWholeLife) {
  const std::string source = Upload(ZipOf({"a.jpg", "b.jpg"}), true);
  const Reply taken = Submit(source);
  const std::string id = Text(taken.body, "finetune_id");
  EXPECT_EQ(taken.body, R"({"status":"REQUESTED","finetune_id":")" + id + R"(","name":"Cat"})");
  const std::string job = Ended(id);
  EXPECT_EQ(Text(job, "status"), "AVAILABLE") << job;
  EXPECT_EQ(Text(job, "slug"), id + "-cat");
  EXPECT_EQ(Api("PUT", "/finetune/request/access-update",
                "request_id=" + id + "&segmind_public=True", kForm)
                .body,
            "200");
  EXPECT_THAT(List().body, HasSubstr(R"("segmind_public_model":true)"));
  const std::string weights = Text(job, "cloud_storage_url");
  EXPECT_EQ(Call("GET", weights).code, 302);
  const Reply whole = Call("GET", weights, {}, "", true);
  EXPECT_EQ(whole.body.size(), 4u << 20);
  const Reply part = Call("GET", weights, {"Range: bytes=1000-1999"}, "", true);
  EXPECT_EQ(part.code, 206);
  EXPECT_EQ(part.body, whole.body.substr(1000, 1000));
  EXPECT_EQ(Call("GET", weights, {"Range: bytes=99999999-"}, "", true).code, 416);
  const Reply head = Call("HEAD", weights, {}, "", true);
  EXPECT_THAT(head.head, HasSubstr("Content-Length: 4194304"));
}

TEST_F(EmulatorTest, LooksIntoTheDataset) {
  const auto error_of = [&](const Reply& taken, const char* id_name) {
    const std::string job = Ended(Text(taken.body, id_name));
    EXPECT_EQ(Text(job, "status"), "FAILED") << job;
    return Text(job, "error_message");
  };
  EXPECT_EQ(error_of(Submit("http://127.0.0.1:1/none.zip"), "finetune_id"), "Download failed");
  EXPECT_THAT(error_of(Submit(Upload(ZipOf({"photos/a.jpg"}), true)), "finetune_id"),
              HasSubstr("do not create subfolders"));
  const std::string own = Upload(ZipOf({"a.jpg"}), false);
  EXPECT_EQ(error_of(Submit(own), "finetune_id"), "Download failed");
  EXPECT_EQ(Call("GET", own).code, 403);
  const Reply qwen = Submit(own, "QWEN", "QWEN");
  const std::string job = Ended(Text(qwen.body, "request_id"));
  EXPECT_EQ(Text(job, "status"), "AVAILABLE") << job;
  // Weights that are not public go through file/download.
  const std::string weights = Text(job, "cloud_storage_url");
  EXPECT_EQ(Call("GET", weights, {}, "", true).code, 403);
  const Reply url =
      Api("GET", "/finetune/request/file/download", "cloud_storage_url=" + weights, kForm);
  EXPECT_THAT(url.head, HasSubstr("Content-Type: text/plain"));
  EXPECT_EQ(Call("GET", url.body, {}, "", true).body.size(), 4u << 20);
}

TEST_F(EmulatorTest, ChecksTheUploadsSignature) {
  const Reply grant = Api("GET", "/finetune/request/upload/pre-signed-url",
                          R"({"name":"x","extension":".zip","public":true})");
  const std::string url = Text(grant.body, "presigned_url");
  const std::string acl = "x-amz-acl: public-read";
  EXPECT_THAT(Call("PUT", url, {kZip}, "zip").body, HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(Call("PUT", url, {acl}, "zip").body, HasSubstr("SignatureDoesNotMatch"));
  EXPECT_EQ(Call("PUT", url + "0", {kZip, acl}, "zip").code, 403);
  EXPECT_EQ(Call("PUT", url.substr(0, url.find('?')), {kZip, acl}, "zip").code, 403);
  EXPECT_EQ(Call("PUT", url, {kZip, acl, kKey}, "zip").code, 403);
  EXPECT_THAT(Call("GET", url_ + "/emulator/stats").body,
              HasSubstr(R"("keys_leaked_to_storage":1)"));
  EXPECT_EQ(Call("PUT", url, {kZip, acl}, "zip").code, 200);
  EXPECT_EQ(Call("GET", Text(grant.body, "s3_url")).body, "zip");
}

TEST_F(EmulatorTest, TakesTheJobAndLosesTheAnswer) {
  Control("settings", R"({"check_datasets":false,"time_scale":0})");
  Control("faults", R"({"call":"submit","kind":"lost_answer"})");
  EXPECT_EQ(Submit("http://a/b.zip").result, CURLE_GOT_NOTHING);
  EXPECT_THAT(List().body, HasSubstr(R"("name":"Cat")"));
  Control("faults", R"({"call":"submit","kind":"error_after","code":503})");
  EXPECT_EQ(Submit("http://a/b.zip").code, 503);
  Control("faults", R"({"call":"submit","kind":"close_before"})");
  EXPECT_EQ(Submit("http://a/b.zip").result, CURLE_GOT_NOTHING);
  Control("faults", R"({"call":"submit","kind":"close_before","reset":true})");
  EXPECT_EQ(Submit("http://a/b.zip").result, CURLE_RECV_ERROR);
  const Reply stats = Call("GET", url_ + "/emulator/stats");
  EXPECT_THAT(stats.body, HasSubstr(R"("submits_taken":2)"));
  EXPECT_THAT(Call("GET", url_ + "/emulator/duplicates").body, HasSubstr(R"("name":"Cat")"));
}

TEST_F(EmulatorTest, MisbehavesOnTheWire) {
  Control("prefill", R"({"count":20})");
  const std::string good = List().body;
  Control("faults", R"({"call":"list","kind":"truncated"})");
  const Reply cut = List();
  EXPECT_EQ(cut.result, CURLE_OK);
  EXPECT_EQ(cut.body, good.substr(0, good.size() / 2));
  Control("faults", R"({"call":"list","kind":"partial","bytes":100})");
  const Reply partial = List();
  EXPECT_EQ(partial.result, CURLE_PARTIAL_FILE);
  EXPECT_EQ(partial.body, good.substr(0, 100));
  Control("faults", R"({"call":"list","kind":"stall","bytes":10,"ms":50})");
  EXPECT_EQ(List().body, good.substr(0, 10));
  Control("faults", R"({"call":"list","kind":"rate_limited"})");
  const Reply limited = List();
  EXPECT_EQ(limited.code, 429);
  EXPECT_THAT(limited.head, HasSubstr("x-rate-limit-reset-at-utc: 2"));
  Control("faults", R"({"call":"list","kind":"html"})");
  EXPECT_THAT(List().body, StartsWith("<!doctype html>"));
  Control("faults", R"({"kind":"key_revoked"})");
  EXPECT_EQ(List().code, 401);
  EXPECT_EQ(List().code, 401);
  Call("DELETE", url_ + "/emulator/faults");
  EXPECT_EQ(List().body, good);
}

TEST_F(EmulatorTest, HoldsUpNobodyWithAStalledCall) {
  Control("faults", R"({"call":"list","kind":"stall","ms":600000,"count":8})");
  std::vector<std::thread> stalled;
  for (int i = 0; i < 8; ++i) stalled.emplace_back([this] { List(); });
  // All eight are in their stalls once the fault is used up.
  while (Call("GET", url_ + "/emulator/faults").body != "[]") std::this_thread::yield();
  EXPECT_EQ(List().body, "[]");
  EXPECT_EQ(Stop(), 0);  // Which ends the stalls.
  for (std::thread& thread : stalled) thread.join();
}

TEST_F(EmulatorTest, HidesANewJobForSomeLists) {
  Control("settings", R"({"check_datasets":false,"time_scale":0})");
  Control("faults", R"({"kind":"list_delay","list_calls":2,"count":1})");
  const std::string id = Text(Submit("http://a/b.zip").body, "finetune_id");
  EXPECT_EQ(Details(id).code, 404);
  EXPECT_EQ(List().body, "[]");
  EXPECT_EQ(List().body, "[]");
  EXPECT_THAT(List().body, HasSubstr(id));
  EXPECT_EQ(Details(id).code, 200);
}

TEST_F(EmulatorTest, KeepsTheRateLimit) {
  Control("settings", R"({"rate_limit_per_minute":3})");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(List().code, 200);
  const Reply refused = List();
  EXPECT_EQ(refused.code, 429);
  EXPECT_THAT(refused.head, HasSubstr("x-rate-limit-reset-at-utc: "));
}

TEST_F(EmulatorTest, CountsTheCallsOfEachSecond) {
  for (int i = 0; i < 3; ++i) List();
  const auto seconds = ParseJson(Call("GET", url_ + "/emulator/seconds").body);
  ASSERT_TRUE(seconds && seconds->IsArray());
  int64_t calls = 0, last = 0;
  for (const auto& second : seconds->GetArray()) {
    EXPECT_LT(last, second[0].GetInt64());
    last = second[0].GetInt64();
    calls += second[1].GetInt64();
  }
  EXPECT_EQ(calls, 3);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  EXPECT_NEAR(last, std::chrono::duration_cast<std::chrono::seconds>(now).count(), 60);
}

TEST_F(EmulatorTest, PostsWebhooksAndSpoilsThem) {
  // Its own API is the receiver: what arrives there is counted as a refused call.
  Control("settings",
          R"({"check_datasets":false,"webhook_url":")" + url_ + R"(/finetune/request/submit"})");
  Control("faults", R"({"kind":"webhook_lost","stage":"TRAINING_INITIATED"})");
  Control("faults", R"({"kind":"webhook_duplicate","stage":"TRAINING_COMPLETED"})");
  Control("faults", R"({"kind":"webhook_reordered","stage":"DEPLOYING"})");
  const std::string id = Text(Submit("http://a/b.zip").body, "finetune_id");
  EXPECT_EQ(Text(Ended(id), "status"), "AVAILABLE");
  std::string events;
  for (int i = 0; i < 2000; ++i) {
    const auto seen = ParseJson(Call("GET", url_ + "/emulator/webhooks").body);
    if (seen && seen->Size() == 6) {
      for (const auto& record : seen->GetArray()) {
        if (Text(ToText(record), "outcome") == "lost") continue;
        events += std::string(record["event"].GetString()) + " ";
      }
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(events, "DATA_PROCESSING TRAINING_COMPLETED TRAINING_COMPLETED AVAILABLE DEPLOYING ");
}

TEST_F(EmulatorTest, IsMovedByHandAndReset) {
  const Reply made = Control("jobs", R"({"name":"by hand","status":"QUEUED"})");
  const std::string id = Text(made.body, "id");
  EXPECT_EQ(Control("jobs/" + id, R"({"status":"SOMETHING_NEW","details":{"extra":1}})").code, 200);
  EXPECT_THAT(Details(id).body,
              testing::AllOf(HasSubstr(R"("status":"SOMETHING_NEW")"), HasSubstr(R"("extra":1)")));
  EXPECT_EQ(Control("jobs/" + id, R"({"colour":"red"})").code, 400);
  EXPECT_EQ(Control("reset").code, 200);
  EXPECT_EQ(List().body, "[]");
}

}  // namespace
}  // namespace finetune::emulator
