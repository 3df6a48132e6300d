#include "client/cli/field_rows.h"

#include <gtest/gtest.h>

#include "client/cli/field_words.h"

namespace finetune::cli {
namespace {

TEST(FieldRows, EachIsSetByItsFlagAndShown) {
  for (const FieldRow& row : FieldRows()) {
    ASSERT_NE(row.field, nullptr);
    pb::FineTune job;
    EXPECT_EQ(TextOf(job, row), "");
    SetText("value", row, job);
    EXPECT_EQ(TextOf(job, row), "value") << row.field->name();
    EXPECT_EQ(row.flag == nullptr, row.help == nullptr) << row.field->name();
  }
}

// The contract says that fields from 20 on are output only.
TEST(FieldRows, CallersSetWhatTheContractLetsThem) {
  for (const FieldRow& row : FieldRows())
    EXPECT_EQ(row.flag != nullptr, row.field->number() < 20) << row.field->name();
}

TEST(FieldRows, ErrorsNameTheFlag) {
  for (const FieldRow& row : FieldRows())
    if (row.flag != nullptr) EXPECT_EQ(FlagOf("fine_tune." + row.field->name()), row.flag);
}

}  // namespace
}  // namespace finetune::cli
