#include "server/service/calls/message_bytes.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/error.h"

namespace finetune {
namespace {

grpc::ByteBuffer InPieces(const std::string& text, size_t of) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < text.size(); at += of) slices.emplace_back(text.substr(at, of));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

TEST(ReadMessage, ReadsWhateverItsPieces) {
  pb::GetFineTuneRequest request, read;
  request.set_name("fineTunes/a");
  for (const size_t of : {1, 5, 100}) {
    read.Clear();
    EXPECT_TRUE(ReadMessage(InPieces(request.SerializeAsString(), of), read).ok());
    EXPECT_EQ(read.name(), "fineTunes/a");
  }
  EXPECT_TRUE(ReadMessage(grpc::ByteBuffer(nullptr, 0), read).ok());
  EXPECT_EQ(read.name(), "");
}

TEST(WriteMessage, MakesWhatIsReadAgain) {
  pb::GetFineTuneRequest request, read;
  EXPECT_TRUE(ReadMessage(WriteMessage(request), read).ok());
  request.set_name("fineTunes/a");
  EXPECT_TRUE(ReadMessage(WriteMessage(request), read).ok());
  EXPECT_EQ(read.name(), "fineTunes/a");
}

TEST(ReadMessage, RefusesWhatIsNone) {
  pb::GetFineTuneRequest read;
  for (const std::string text : {"\x0a\x05"
                                 "ab",
                                 "\x0a\x01\xff"}) {
    const absl::Status status = ReadMessage(InPieces(text, 100), read);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD);
  }
}

}  // namespace
}  // namespace finetune
