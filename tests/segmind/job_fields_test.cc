#include "server/segmind/job_fields.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/segmind/json_job.h"

namespace finetune {
namespace {

using google::protobuf::FieldDescriptor;

// A value for a field of any kind, and the same in JSON.
std::string SetSample(const FieldDescriptor& field, pb::FineTune& fine_tune) {
  const auto& reflection = *fine_tune.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      reflection.SetInt32(&fine_tune, &field, 7);
      return "7";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      reflection.SetDouble(&fine_tune, &field, 0.5);
      return "0.5";
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection.SetBool(&fine_tune, &field, true);
      return "true";
    default:
      EXPECT_EQ(field.cpp_type(), FieldDescriptor::CPPTYPE_STRING) << field.name();
      reflection.SetString(&fine_tune, &field, "value of " + field.name());
      return "\"value of " + field.name() + "\"";
  }
}

const FieldDescriptor& FieldOf(const JobField& row) {
  return *pb::FineTune::descriptor()->FindFieldByNumber(row.number);
}

std::string Name(const JobField& row) { return std::string(row.upstream_name); }

TEST(JobFields, EachIsReadFromSegmindsAnswers) {
  for (const JobField& row : JobFields()) {
    pb::FineTune want;
    const std::string value = SetSample(FieldOf(row), want);
    JsonParser parser;
    const auto job = JobOf(
        *parser.Parse(absl::StrCat(R"({"id":"x",")", Name(row), "\":", value, "}")), Scrubber());
    ASSERT_TRUE(job);
    EXPECT_EQ(job->fields.ShortDebugString(), want.ShortDebugString());
  }
}

TEST(JobFields, InputIsSentWithASubmissionAndNothingElseIs) {
  for (const JobField& row : JobFields()) {
    pb::FineTune asked;
    const std::string value = SetSample(FieldOf(row), asked);
    const std::string member = absl::StrCat("\"", Name(row), "\":", value);
    EXPECT_EQ(SubmitBody(asked, "n").find(member) != std::string::npos, row.input) << member;
  }
}

// The contract says which fields are output only: `name`, and those from 20 on.
TEST(JobFields, InputIsWhatTheContractLetsCallersSet) {
  pb::FineTune all;
  const auto& reflection = *all.GetReflection();
  const auto* type = pb::FineTune::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor& field = *type->field(i);
    if (field.is_repeated() && field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      reflection.AddMessage(&all, &field);
    else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      reflection.MutableMessage(&all, &field);
    else if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
      reflection.SetEnumValue(&all, &field, 1);
    else if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
      reflection.SetUInt64(&all, &field, 1);
    else
      SetSample(field, all);
  }
  (*all.mutable_labels())["team"] = "art";
  reflection.MutableUnknownFields(&all)->AddVarint(1000, 1);
  const pb::FineTune input = InputOf(all);
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor& field = *type->field(i);
    const bool kept = field.is_repeated() ? reflection.FieldSize(input, &field) > 0
                                          : reflection.HasField(input, &field);
    EXPECT_EQ(kept, 1 < field.number() && field.number() < 20) << field.name();
  }
  EXPECT_EQ(reflection.GetUnknownFields(input).field_count(), 0);
}

}  // namespace
}  // namespace finetune
