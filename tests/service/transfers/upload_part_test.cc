#include "server/service/transfers/upload_part.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

// A message of these bytes, in slices of `piece` bytes.
grpc::ByteBuffer InPieces(const std::string& bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece) slices.emplace_back(bytes.substr(at, piece));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Wire(const pb::UploadDatasetRequest& request) { return request.SerializeAsString(); }

std::string ChunkWire(const std::string& chunk) {
  pb::UploadDatasetRequest request;
  request.set_chunk(chunk);
  return Wire(request);
}

std::string Joined(const std::vector<grpc::Slice>& slices) {
  std::string joined;
  for (const grpc::Slice& slice : slices)
    joined.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return joined;
}

void ExpectRefused(const grpc::ByteBuffer& message) {
  const auto part = ReadUploadPart(message);
  EXPECT_EQ(part.status().code(), absl::StatusCode::kInvalidArgument) << part.status();
  EXPECT_EQ(ReasonOf(part.status()), pb::ErrorReason::INVALID_FIELD);
}

TEST(UploadPart, ReadsASpec) {
  pb::UploadDatasetRequest request;
  request.mutable_spec()->set_file_name("cats.zip");
  request.mutable_spec()->set_size_bytes(7);
  for (const size_t piece : {1, 3, 1000}) {
    const auto part = ReadUploadPart(InPieces(Wire(request), piece));
    ASSERT_TRUE(part.ok()) << part.status();
    ASSERT_TRUE(part->spec.has_value());
    EXPECT_EQ(part->spec->file_name(), "cats.zip");
    EXPECT_EQ(part->spec->size_bytes(), 7);
    EXPECT_TRUE(part->chunk.empty());
  }
}

TEST(UploadPart, ReadsAChunkHoweverItIsCutIntoSlices) {
  // Lengths of one, two and three bytes.
  for (const size_t size : {size_t{1}, size_t{127}, size_t{128}, size_t{20'000}}) {
    std::string chunk(size, 'c');
    chunk.back() = 'e';
    for (const size_t piece : {1, 2, 3, 5, 1 << 20}) {
      const auto part = ReadUploadPart(InPieces(ChunkWire(chunk), piece));
      ASSERT_TRUE(part.ok()) << part.status();
      EXPECT_FALSE(part->spec.has_value());
      EXPECT_EQ(Joined(part->chunk), chunk) << size << " bytes in pieces of " << piece;
    }
  }
}

TEST(UploadPart, LeavesTheBytesOfAChunkWhereTheyAre) {
  const std::string wire = ChunkWire(std::string(5000, 'x'));
  const grpc::Slice slice(wire.data(), wire.size(), grpc::Slice::STATIC_SLICE);
  const auto part = ReadUploadPart(grpc::ByteBuffer(&slice, 1));
  ASSERT_TRUE(part.ok()) << part.status();
  ASSERT_EQ(part->chunk.size(), 1u);
  EXPECT_EQ(reinterpret_cast<const char*>(part->chunk[0].end()), wire.data() + wire.size());
}

TEST(UploadPart, ReadsAnEmptyChunk) {
  const auto part = ReadUploadPart(InPieces(ChunkWire(""), 100));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(Joined(part->chunk), "");
}

TEST(UploadPart, TakesTheLastOfTwoFieldsAsProtobufDoes) {
  auto part = ReadUploadPart(InPieces(ChunkWire("one") + ChunkWire("two"), 100));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(Joined(part->chunk), "two");
  pb::UploadDatasetRequest spec;
  spec.mutable_spec()->set_size_bytes(3);
  part = ReadUploadPart(InPieces(ChunkWire("one") + Wire(spec), 100));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_TRUE(part->spec.has_value());
}

TEST(UploadPart, ReadsAChunkWithALengthLongerThanNeedBe) {
  const std::string wire = std::string("\x12\x83\x80\x00", 4) + "abc";
  const auto part = ReadUploadPart(InPieces(wire, 2));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(Joined(part->chunk), "abc");
}

TEST(UploadPart, RefusesWhatIsNoSuchMessage) {
  ExpectRefused(InPieces("not at all", 100));
  const std::string wire = ChunkWire("some bytes");
  ExpectRefused(InPieces(wire.substr(0, wire.size() - 1), 100));
  ExpectRefused(InPieces(wire + "\x12", 3));
  ExpectRefused(InPieces("\x12", 1));
  ExpectRefused(InPieces("\x12" + std::string(20, '\xff'), 4));
}

TEST(UploadPart, RefusesAMessageWithNeither) {
  const grpc::Slice none;
  ExpectRefused(grpc::ByteBuffer(&none, 1));
  // A field that this server does not know.
  ExpectRefused(InPieces("\x7a\x01x", 100));
}

}  // namespace
}  // namespace finetune
