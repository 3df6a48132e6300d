#include "client/cpp/transfer.h"

#include <grpcpp/support/sync_stream.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/digest.h"
#include "client/cpp/partial_file.h"

namespace finetune::inline client {
namespace {

constexpr size_t kChunk = 1 << 20;

bool WorthAnotherTry(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return true;
    // A connection that was reset shows itself as INTERNAL without a reason.
    case absl::StatusCode::kInternal:
      return ErrorReasonNameOf(status).empty();
    case absl::StatusCode::kResourceExhausted:
      return RetryDelayOf(status).has_value();
    default:
      return false;
  }
}

// One attempt to send the file.
absl::StatusOr<pb::Dataset> Send(FineTuneClient& client, const std::string& path,
                                 const pb::DatasetSpec& spec, const TransferOptions& options) {
  std::ifstream file(path, std::ios::binary);
  grpc::ClientContext context;
  if (absl::Status status = client.Prepare(context, std::nullopt); !status.ok()) return status;
  pb::Dataset dataset;
  auto writer = client.stub().UploadDataset(&context, &dataset);
  pb::UploadDatasetRequest request;
  *request.mutable_spec() = spec;
  bool open = writer->Write(request);
  std::string block(kChunk, '\0');
  int64_t sent = 0;
  // The server may answer early, with an error; Finish() says which.
  while (open && file.good()) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    if (file.gcount() == 0) break;
    request.set_chunk(block.data(), file.gcount());
    open = writer->Write(request);
    sent += file.gcount();
    if (open && options.on_progress) options.on_progress(sent, spec.size_bytes());
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return ToStatus(status);
  return dataset;
}

absl::StatusOr<pb::DatasetSpec> Describe(const std::string& path, bool is_public,
                                         const std::string& file_name) {
  std::ifstream file(path, std::ios::binary);
  if (!file.good() || std::filesystem::is_directory(path)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  }
  Sha256 digest;
  pb::DatasetSpec spec;
  std::string block(kChunk, '\0');
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    digest.Update(std::string_view(block).substr(0, file.gcount()));
    spec.set_size_bytes(spec.size_bytes() + file.gcount());
  }
  if (file.bad()) return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  spec.set_file_name(file_name.empty() ? std::filesystem::path(path).filename().string()
                                       : file_name);
  spec.set_public_read(is_public);
  spec.set_sha256(digest.Finish());
  return spec;
}

// One attempt to fetch what is missing. OK when the file is complete.
absl::Status Fetch(FineTuneClient& client, const std::string& name, PartialFile& file,
                   const TransferOptions& options) {
  grpc::ClientContext context;
  if (absl::Status status = client.Prepare(context, std::nullopt); !status.ok()) return status;
  pb::DownloadWeightsRequest request;
  request.set_name(name);
  request.set_read_offset(file.size());
  auto reader = client.stub().DownloadWeights(&context, request);
  pb::DownloadWeightsResponse response;
  int64_t total = -1;
  absl::Status broken;
  while (broken.ok() && reader->Read(&response)) {
    if (total < 0) {
      total = response.total_size_bytes();
      if (file.size() == 0) {
        broken = file.Restart(response.generation());
      } else if (response.generation() != file.generation()) {
        broken = file.Restart("");
        if (broken.ok()) broken = absl::AbortedError("the file has changed at its source");
      }
    }
    if (broken.ok() && response.offset() != file.size() && !response.chunk().empty()) {
      broken = absl::DataLossError(
          absl::StrCat("byte ", response.offset(), " came where byte ", file.size(), " was due"));
    }
    if (broken.ok()) broken = file.Append(response.chunk());
    if (broken.ok() && options.on_progress) options.on_progress(file.size(), total);
  }
  if (!broken.ok()) context.TryCancel();
  absl::Status status = ToStatus(reader->Finish());
  if (!broken.ok()) return broken;
  if (!status.ok()) return status;
  if (total >= 0 && file.size() < total) {
    return absl::UnavailableError(
        absl::StrCat("the transfer ended at byte ", file.size(), " of ", total));
  }
  if (total >= 0 && file.size() > total)
    return absl::DataLossError("more bytes came than the file has");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<pb::Dataset> UploadDataset(FineTuneClient& client, const std::string& path,
                                          bool is_public, const TransferOptions& options) {
  auto spec = Describe(path, is_public, options.file_name);
  if (!spec.ok()) return spec.status();
  RetryBackoff backoff(options.backoff);
  for (int attempt = 1;; ++attempt) {
    auto dataset = Send(client, path, *spec, options);
    if (dataset.ok() || !WorthAnotherTry(dataset.status()) || attempt >= options.attempts)
      return dataset;
    absl::SleepFor(backoff.Next(RetryDelayOf(dataset.status())));
  }
}

absl::StatusOr<Download> DownloadWeights(FineTuneClient& client, const std::string& name,
                                         const std::string& path, const TransferOptions& options) {
  auto file = PartialFile::Open(path);
  if (!file.ok()) return file.status();
  Download download;
  download.resumed_bytes = (*file)->size();
  RetryBackoff backoff(options.backoff);
  for (int attempt = 1;; ++attempt) {
    const int64_t before = (*file)->size();
    absl::Status status = Fetch(client, name, **file, options);
    if (status.ok()) break;
    if ((*file)->size() < before) download.resumed_bytes = 0;
    if ((*file)->size() > before) {
      attempt = 0;
      backoff.Reset();
    }
    const bool damaged = absl::IsDataLoss(status) || absl::IsOutOfRange(status);
    if (attempt >= options.attempts || (!WorthAnotherTry(status) && !(damaged && before > 0)))
      return status;
    if (damaged) {
      if (absl::Status restarted = (*file)->Restart(""); !restarted.ok()) return restarted;
      download.resumed_bytes = 0;
      ++attempt;
    }
    absl::SleepFor(backoff.Next(RetryDelayOf(status)));
  }
  download.size_bytes = (*file)->size();
  auto digest = (*file)->Finish();
  if (!digest.ok()) return digest.status();
  download.sha256 = *std::move(digest);
  return download;
}

}  // namespace finetune::inline client
