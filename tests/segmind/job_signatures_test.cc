#include "server/segmind/job_signatures.h"

#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"

namespace finetune {
namespace {

constexpr char kSigned[] = "https://h/d.zip?n=1&sig=s3cret";
constexpr char kPlain[] = "https://h/d.zip?n=1";

TEST(JobSignatures, AreTakenFromStringsAtAnyDepth) {
  google::protobuf::Struct object;
  auto& fields = *object.mutable_fields();
  fields["top"].set_string_value(kSigned);
  auto& list = *fields["list"].mutable_list_value();
  list.add_values()->set_string_value(kSigned);
  auto& deep = *list.add_values()->mutable_struct_value()->mutable_fields();
  deep["url"].set_string_value(kSigned);
  RemoveSignatures(object);
  EXPECT_EQ(fields["top"].string_value(), kPlain);
  EXPECT_EQ(list.values(0).string_value(), kPlain);
  EXPECT_EQ(deep["url"].string_value(), kPlain);
}

TEST(JobSignatures, LeaveAllElseAsItWas) {
  google::protobuf::Struct object;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(fields {
             key: "https://h/x?sig=a name"
             value { number_value: 3 }
           }
           fields {
             key: "b"
             value { bool_value: true }
           }
           fields {
             key: "n"
             value { null_value: NULL_VALUE }
           }
           fields {
             key: "t"
             value { string_value: "a word" }
           })pb",
      &object));
  const std::string before = object.DebugString();
  RemoveSignatures(object);
  EXPECT_EQ(object.DebugString(), before);
}

TEST(JobSignatures, AreTakenFromWhatACallerAsksFor) {
  pb::FineTune job;
  job.set_data_source_uri(kSigned);
  job.set_display_name(kSigned);
  (*job.mutable_parameters()->mutable_extra()->mutable_fields())["init_image"].set_string_value(
      kSigned);
  RemoveSignatures(job);
  EXPECT_EQ(job.data_source_uri(), kPlain);
  EXPECT_EQ(job.parameters().extra().fields().at("init_image").string_value(), kPlain);
  // A name is what the caller calls it.
  EXPECT_EQ(job.display_name(), kSigned);
}

TEST(JobSignatures, MakeNoParametersWhereNoneWereGiven) {
  pb::FineTune job;
  RemoveSignatures(job);
  EXPECT_FALSE(job.has_parameters());
  job.mutable_parameters()->set_steps(3);
  RemoveSignatures(job);
  EXPECT_FALSE(job.parameters().has_extra());
}

}  // namespace
}  // namespace finetune
