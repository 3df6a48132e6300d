#include "server/segmind/webhook_event.h"

#include <gtest/gtest.h>

#include "tests/segmind/samples.h"

namespace finetune {
namespace {

TEST(Webhook, IsReadInAnyPlausibleShape) {
  for (const char* body :
       {R"({"finetune_id":"x","status":"AVAILABLE"})", R"({"request_id":"x","event":"AVAILABLE"})",
        R"({"id":null,"data":{"id":"x","status":"AVAILABLE"}})",
        R"({"event_type":"AVAILABLE","finetune":{"finetune_id":"x"}})",
        R"([{"id":"x","type":"AVAILABLE"}])"}) {
    const auto event = ParseWebhook(body);
    ASSERT_TRUE(event) << body;
    EXPECT_EQ(event->id, "x") << body;
    EXPECT_EQ(event->status, "AVAILABLE") << body;
  }
  EXPECT_EQ(ParseWebhook(R"({"id":7})")->id, "7");
  EXPECT_EQ(ParseWebhook(R"({"finetune_id":"\u0000","id":"real"})")->id, "real");
}

TEST(Webhook, IsNoneWithoutAnId) {
  for (const char* body : {"", "null", "[]", "{}", "<html>", R"({"status":"AVAILABLE"})",
                           R"({"id":"a\u0000b"})", R"({"id":".."})", R"({"id":"a\nb"})",
                           R"({"id":{}})", R"({"id":true})", R"({"a":{"b":{"id":"x"}}})"})
    EXPECT_FALSE(ParseWebhook(body)) << body;
}

TEST(Webhook, SurvivesHostileBodies) {
  for (const char* sample : {"details.json", "submit.json"}) {
    for (const Variation& variation : HostileVariations(Sample(sample))) {
      const auto event = ParseWebhook(variation.body);
      if (!event) continue;
      EXPECT_FALSE(event->id.empty()) << variation.name;
      EXPECT_TRUE(IsValidUtf8(event->id)) << variation.name;
      EXPECT_TRUE(IsValidUtf8(event->status)) << variation.name;
    }
  }
}

}  // namespace
}  // namespace finetune
