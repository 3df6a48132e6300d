#include "server/service/transfers/upload_part.h"

#include <string_view>
#include <utility>

#include "server/service/requests/violations.h"

namespace finetune {
namespace {

constexpr uint8_t kChunkTag = pb::UploadDatasetRequest::kChunkFieldNumber << 3 | 2;
constexpr size_t kMaxLengthBytes = 5;

// Takes the next byte off the front of `slices`; false if they are empty.
bool TakeByte(std::vector<grpc::Slice>& slices, size_t& first, uint8_t& byte) {
  while (first < slices.size() && slices[first].size() == 0) ++first;
  if (first == slices.size()) return false;
  byte = *slices[first].begin();
  slices[first] = slices[first].sub(1, slices[first].size());
  return true;
}

// The message's chunk without a copy, if it is encoded the usual way: one field, which fills the
// message.
std::optional<std::vector<grpc::Slice>> PlainChunk(std::vector<grpc::Slice> slices,
                                                   size_t message_size) {
  size_t first = 0, header = 1;
  uint8_t byte = 0;
  if (!TakeByte(slices, first, byte) || byte != kChunkTag) return std::nullopt;
  uint64_t length = 0;
  for (int shift = 0;; shift += 7) {
    if (++header > 1 + kMaxLengthBytes || !TakeByte(slices, first, byte)) return std::nullopt;
    length |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) break;
  }
  if (length != message_size - header) return std::nullopt;
  return slices;
}

}  // namespace

absl::StatusOr<UploadPart> ReadUploadPart(const grpc::ByteBuffer& message) {
  UploadPart part;
  std::vector<grpc::Slice> slices;
  if (message.Dump(&slices).ok()) {
    if (auto chunk = PlainChunk(std::move(slices), message.Length())) {
      part.chunk = *std::move(chunk);
      return part;
    }
  }
  grpc::Slice whole;
  pb::UploadDatasetRequest request;
  if (!message.DumpToSingleSlice(&whole).ok() ||
      !request.ParseFromArray(whole.begin(), static_cast<int>(whole.size())))
    return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
                 "a message is not of this method's type");
  if (request.has_spec())
    part.spec = std::move(*request.mutable_spec());
  else if (request.has_chunk())
    part.chunk.emplace_back(request.chunk());
  else
    return InvalidField("part", "must be a spec or a chunk");
  return part;
}

}  // namespace finetune
