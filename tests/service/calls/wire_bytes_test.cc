#include "server/service/calls/wire_bytes.h"

#include <gtest/gtest.h>

#include "google/protobuf/timestamp.pb.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/error.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

TEST(WireBytes, AreReadAsTheMessageThatWasMeant) {
  std::string bytes;
  AppendBytesField(bytes, pb::FineTune::kNameFieldNumber, "fineTunes/a");
  AppendVarintField(bytes, pb::FineTune::kRevisionFieldNumber, 300);
  AppendBytesField(bytes, pb::FineTune::kDisplayNameFieldNumber, std::string(200, 'x'));
  pb::FineTune job;
  ASSERT_TRUE(job.ParseFromString(bytes));
  EXPECT_EQ(job.name(), "fineTunes/a");
  EXPECT_EQ(job.revision(), 300u);
  EXPECT_EQ(job.display_name(), std::string(200, 'x'));
}

TEST(WireBytes, ALengthIsFollowedByBytesThatStandElsewhere) {
  pb::FineTune job;
  job.set_name(std::string(1000, 'n'));
  const std::string inner = job.SerializeAsString();
  std::string bytes;
  AppendLengthPrefix(bytes, pb::ListFineTunesResponse::kFineTunesFieldNumber, inner.size());
  pb::ListFineTunesResponse list;
  ASSERT_TRUE(list.ParseFromString(bytes + inner));
  ASSERT_EQ(list.fine_tunes_size(), 1);
  EXPECT_EQ(list.fine_tunes(0).name(), job.name());
}

TEST(WireBytes, ATimeOverridesAnEarlierOneInAllItsNumbers) {
  for (const absl::Time time :
       {absl::UnixEpoch(), absl::FromUnixSeconds(7), absl::FromUnixNanos(-1),
        absl::FromUnixNanos(1'700'000'000'999'999'999)}) {
    pb::FineTune job;
    *job.mutable_update_time() = ToProto(absl::FromUnixNanos(12'345'678'901));
    std::string bytes = job.SerializeAsString();
    AppendTimestampField(bytes, pb::FineTune::kUpdateTimeFieldNumber, time);
    ASSERT_TRUE(job.ParseFromString(bytes));
    EXPECT_EQ(FromProto(job.update_time()), time);
    EXPECT_GE(job.update_time().nanos(), 0);
  }
}

TEST(WireBytes, FixedNumbersAreLittleEndian) {
  std::string bytes;
  AppendFixed32Field(bytes, 1, 0x01020304);
  EXPECT_EQ(bytes, "\x0d\x04\x03\x02\x01");
}

}  // namespace
}  // namespace finetune
