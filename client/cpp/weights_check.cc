#include "client/cpp/weights_check.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"

namespace finetune::inline client {
namespace {

// What a header takes in memory is many times its length: longer ones are looked at, not read.
constexpr uint64_t kLongestRead = 8 << 20;
constexpr size_t kLengthBytes = 8;
constexpr char kNoWeights[] = "finetune.client/no_weights";

absl::Status NoWeights(absl::string_view what) {
  absl::Status status =
      absl::DataLossError(absl::StrCat("what came is ", what, ", no weights (.safetensors)"));
  status.SetPayload(kNoWeights, absl::Cord());
  return status;
}

absl::Status Read(int file, std::string_view path, uint64_t offset, std::string& bytes) {
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got =
        ::pread(file, bytes.data() + have, bytes.size() - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return LocalFileError("read", path, errno);
    if (got == 0) break;
    have += got;
  }
  bytes.resize(have);
  return absl::OkStatus();
}

// The end of the last tensor's bytes, counted from the header's end.
absl::Status CheckTensors(const google::protobuf::Struct& header, uint64_t data_bytes) {
  uint64_t end = 0;
  for (const auto& [name, tensor] : header.fields()) {
    if (name == "__metadata__") continue;
    const auto& facts = tensor.struct_value().fields();
    const auto offsets = facts.find("data_offsets");
    if (offsets == facts.end() || offsets->second.list_value().values_size() != 2)
      return NoWeights("a file whose header names no tensors");
    const double last = offsets->second.list_value().values(1).number_value();
    if (!(last >= 0 && last <= 9e15)) return NoWeights("a file whose header cannot be true");
    end = std::max(end, static_cast<uint64_t>(last));
  }
  if (end == data_bytes) return absl::OkStatus();
  return NoWeights(
      absl::StrCat("a file with ", data_bytes, " bytes of tensors where its header says ", end));
}

}  // namespace

absl::Status CheckWeightsStart(std::string_view start) {
  if (!WeightsHeaderLength(start)) return NoWeights(SeemsToBe(start));
  return absl::OkStatus();
}

absl::Status CheckWeightsFile(int file, std::string_view path) {
  struct stat facts = {};
  if (::fstat(file, &facts) != 0) return LocalFileError("read", path, errno);
  std::string start(kTellingBytes, '\0');
  if (absl::Status status = Read(file, path, 0, start); !status.ok()) return status;
  if (absl::Status status = CheckWeightsStart(start); !status.ok()) return status;
  const uint64_t length = WeightsHeaderLength(start).value_or(0);
  const auto size = static_cast<uint64_t>(facts.st_size);
  if (kLengthBytes + length > size) return NoWeights("a file that ends within its header");
  if (length > kLongestRead) return absl::OkStatus();
  std::string text(length, '\0');
  if (absl::Status status = Read(file, path, kLengthBytes, text); !status.ok()) return status;
  google::protobuf::Struct header;
  // Padded with spaces, which JSON allows.
  if (!google::protobuf::util::JsonStringToMessage(text, &header).ok())
    return NoWeights("a file whose header cannot be read");
  return CheckTensors(header, size - kLengthBytes - length);
}

bool IsNoWeights(const absl::Status& status) { return status.GetPayload(kNoWeights).has_value(); }

}  // namespace finetune::inline client
