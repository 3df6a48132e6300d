#include "server/jobs/record/intent_table.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

record::Intent Intent(const std::string& caller, const std::string& request_id,
                      record::Intent::State state, const std::string& marker = "") {
  record::Intent intent;
  intent.set_caller(caller);
  intent.set_request_id(request_id);
  intent.set_state(state);
  intent.set_marker(marker);
  return intent;
}

TEST(IntentTable, KeepsWhatIsNotSettledAndForgetsWhatIs) {
  using Intent_ = record::Intent;
  for (const auto state : {Intent_::PREPARED, Intent_::UNKNOWN}) {
    for (const auto settled : {Intent_::ACCEPTED, Intent_::NOT_SUBMITTED, Intent_::REFUSED}) {
      IntentTable table;
      table.Put(Intent("a", "1", state, "m"));
      ASSERT_NE(table.Find({"a", "1"}), nullptr);
      EXPECT_EQ(table.Find({"a", "1"})->state(), state);
      table.Put(Intent("a", "1", settled, "m"));
      EXPECT_EQ(table.Find({"a", "1"}), nullptr);
      EXPECT_EQ(table.FindByMarker("m"), nullptr);
      EXPECT_TRUE(table.all().empty());
    }
  }
}

TEST(IntentTable, TellsCallersApartThatUseTheSameRequestId) {
  IntentTable table;
  table.Put(Intent("a", "1", record::Intent::PREPARED));
  table.Put(Intent("b", "1", record::Intent::UNKNOWN));
  EXPECT_EQ(table.Find({"a", "1"})->state(), record::Intent::PREPARED);
  EXPECT_EQ(table.Find({"b", "1"})->state(), record::Intent::UNKNOWN);
  EXPECT_EQ(table.Find({"a", "2"}), nullptr);
}

TEST(IntentTable, FindsByTheMarkerThatAnIntentHasNow) {
  IntentTable table;
  table.Put(Intent("a", "1", record::Intent::PREPARED, "first"));
  table.Put(Intent("a", "1", record::Intent::PREPARED, "second"));
  EXPECT_EQ(table.FindByMarker("first"), nullptr);
  ASSERT_NE(table.FindByMarker("second"), nullptr);
  EXPECT_EQ(table.FindByMarker("second")->request_id(), "1");
}

TEST(IntentTable, AnEmptyMarkerIsNobodys) {
  IntentTable table;
  table.Put(Intent("a", "1", record::Intent::PREPARED));
  EXPECT_EQ(table.FindByMarker(""), nullptr);
}

TEST(IntentTable, TheEndOfOneTakesNoOthersMarker) {
  IntentTable table;
  table.Put(Intent("a", "1", record::Intent::PREPARED, "m"));
  table.Put(Intent("b", "2", record::Intent::UNKNOWN, "m"));
  table.Put(Intent("a", "1", record::Intent::REFUSED, "m"));
  ASSERT_NE(table.FindByMarker("m"), nullptr);
  EXPECT_EQ(table.FindByMarker("m")->caller(), "b");
  table.Clear();
  EXPECT_EQ(table.FindByMarker("m"), nullptr);
  EXPECT_EQ(table.Find({"b", "2"}), nullptr);
}

}  // namespace
}  // namespace finetune
