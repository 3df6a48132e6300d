#include "server/jobs/record/wire.h"

#include <gtest/gtest.h>

#include <vector>

#include "server/store/record.pb.h"

namespace finetune {
namespace {

// How many fields it has; -1 if it is no message.
int FieldsOf(std::string_view bytes) {
  WireReader reader(bytes);
  int fields = 0;
  while (reader.Next()) ++fields;
  return reader.ok() ? fields : -1;
}

TEST(WireReader, ReadsWhatProtobufWrote) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name("fineTunes/a");
  record.set_marker("m");
  record.set_read(UINT64_MAX);
  record.set_dormant(true);
  const std::string bytes = record.SerializeAsString();
  WireReader reader(bytes);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.field(), 1u);
  EXPECT_EQ(reader.bytes(), record.fine_tune().SerializeAsString());
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.field(), 3u);
  EXPECT_EQ(reader.bytes(), "m");
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.field(), 8u);
  EXPECT_EQ(reader.number(), UINT64_MAX);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.number(), 1u);
  EXPECT_FALSE(reader.Next());
  EXPECT_TRUE(reader.ok());
}

TEST(WireReader, HandsOutFieldsThatMakeTheSameMessageAgain) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_display_name(std::string(300, 'x'));
  record.set_first_revision(1 << 20);
  const std::string bytes = record.SerializeAsString();
  std::string again;
  WireReader reader(bytes);
  while (reader.Next()) again += reader.whole();
  EXPECT_EQ(again, bytes);
}

TEST(WireReader, ForgetsTheFieldBefore) {
  const std::string bytes("\x0a\1x\x10\0", 5);
  WireReader reader(bytes);
  ASSERT_TRUE(reader.Next());
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.bytes(), "");
  EXPECT_EQ(reader.number(), 0u);
}

TEST(WireReader, RefusesWhatIsNoMessage) {
  EXPECT_EQ(FieldsOf(""), 0);
  const std::vector<std::string> bad = {std::string("\0\0", 2),  // Field 0.
                                        "\x08",                  // A number that is not there.
                                        "\x08\xff",              // One that does not end.
                                        std::string("\x08") + std::string(10, '\xff') + "\1",
                                        "\x09"
                                        "1234567",  // Seven of eight bytes.
                                        "\x0d"
                                        "123",      // Three of four.
                                        "\x0a\2x",  // One of two.
                                        "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1x",
                                        "\x0b\x0c",  // A group.
                                        "\x0e",      // Types that there are not.
                                        "\x0f",
                                        "\x80\x80\x80\x80\x10\1"};  // A field beyond 2^29 - 1.
  for (const std::string& bytes : bad) EXPECT_EQ(FieldsOf(bytes), -1) << bytes;
}

TEST(WireReader, AgreesWithProtobufOnEveryBeginningOfAMessage) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name("fineTunes/a");
  record.set_read(300);
  const std::string bytes = record.SerializeAsString();
  for (size_t size = 0; size <= bytes.size(); ++size) {
    record::FineTuneRecord read;
    const std::string part = bytes.substr(0, size);
    // Ours does not look into the fields.
    if (read.ParseFromString(part)) EXPECT_GE(FieldsOf(part), 0) << size;
    if (FieldsOf(part) < 0) EXPECT_FALSE(read.ParseFromString(part)) << size;
  }
}

TEST(Wire, AppendsNumbersOfAllSizesAsTheyAreRead) {
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{16383}, uint64_t{16384}, UINT64_MAX}) {
    std::string bytes;
    AppendTag(bytes, 15, 0);
    AppendVarint(bytes, value);
    WireReader reader(bytes);
    ASSERT_TRUE(reader.Next()) << value;
    EXPECT_EQ(reader.field(), 15u);
    EXPECT_EQ(reader.number(), value);
    EXPECT_FALSE(reader.Next());
  }
}

}  // namespace
}  // namespace finetune
