#include "client/cpp/transfer.h"

#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/client.h"
#include "client/cpp/local_file.h"
#include "client/cpp/weights_check.h"
#include "server/base/crc32c.h"
#include "server/base/sha256.h"

namespace finetune::inline client {
namespace {

constexpr size_t kChunk = 1 << 20;

bool WorthAnotherTry(const absl::Status& status) {
  if (IsLocalFileError(status)) return false;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return true;
    // A connection that was reset appears as INTERNAL without a reason.
    case absl::StatusCode::kInternal:
      return ErrorReasonNameOf(status).empty();
    case absl::StatusCode::kResourceExhausted:
      return RetryDelayOf(status).has_value();
    default:
      return false;
  }
}

// What neither the gateway nor the connection says of itself: nginx ends so what is longer than its
// client_max_body_size.
absl::Status NameProxy(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kInternal || !ErrorReasonNameOf(status).empty())
    return status;
  return absl::InternalError(absl::StrCat(
      status.message(),
      "; if it happens again, a proxy before the gateway may not let so long an upload pass"));
}

// One attempt to send the file.
absl::StatusOr<pb::Dataset> Send(FineTuneClient& client, const std::string& path,
                                 const pb::DatasetSpec& spec, const UploadOptions& options) {
  std::ifstream file(path, std::ios::binary);
  CallContext context(client.connection());
  if (absl::Status status = client.Prepare(context, std::nullopt); !status.ok()) return status;
  // The connection was awaited before. Without a deadline this would wait for ever if it is lost.
  context.set_wait_for_ready(false);
  pb::Dataset dataset;
  auto writer = client.stub()->UploadDataset(&context, &dataset);
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
  if (!status.ok()) return NameProxy(ToStatus(status));
  return dataset;
}

absl::StatusOr<pb::DatasetSpec> Describe(const std::string& path, const std::string& file_name,
                                         bool public_read) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file.good()) return LocalFileError("read", path, errno);
  Sha256 digest;
  pb::DatasetSpec spec;
  std::string block(kChunk, '\0');
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    digest.Update(std::string_view(block).substr(0, file.gcount()));
    spec.set_size_bytes(spec.size_bytes() + file.gcount());
  }
  if (file.bad()) return LocalFileError("read", path, errno);
  spec.set_file_name(file_name);
  spec.set_public_read(public_read);
  spec.set_sha256(digest.Finish());
  return spec;
}

// Warnings that came before the upload are not told again.
void RemoveKnown(const std::vector<std::string>& known, pb::Dataset& dataset) {
  pb::Dataset others;
  for (const std::string& warning : dataset.warnings()) {
    if (std::find(known.begin(), known.end(), warning) == known.end()) others.add_warnings(warning);
  }
  dataset.mutable_warnings()->Swap(others.mutable_warnings());
}

// Takes the responses of one stream into a file, and checks each of them.
class Receiver {
 public:
  Receiver(PartialFile& file, const DownloadOptions& options) : file_(file), options_(options) {}

  absl::Status Take(const pb::DownloadWeightsResponse& response) {
    if (total_ < 0) {
      if (absl::Status status = Begin(response); !status.ok()) return status;
    }
    if (response.offset() != file_.size() && !response.chunk().empty()) {
      return absl::DataLossError(
          absl::StrCat("byte ", response.offset(), " came where byte ", file_.size(), " was due"));
    }
    // Not kept, so that it can come once more. 0 is also what a gateway says that counts none.
    if (response.crc32c() != 0 && response.crc32c() != Crc32c(response.chunk()))
      return absl::UnavailableError(
          absl::StrCat("the bytes from ", response.offset(), " on were damaged on their way"));
    if (file_.size() == 0 && !response.chunk().empty() && options_.check_weights) {
      const std::string_view chunk(response.chunk());
      if (absl::Status status = CheckWeightsStart(chunk.substr(0, kTellingBytes)); !status.ok())
        return status;
    }
    if (absl::Status status = file_.Append(response.chunk()); !status.ok()) return status;
    if (!response.sha256().empty()) sha256_ = response.sha256();
    if (options_.on_progress) options_.on_progress(file_.size(), total_);
    return absl::OkStatus();
  }

  // After a stream that ended in order.
  absl::Status CheckEnd() const {
    if (total_ >= 0 && file_.size() < total_) {
      return absl::UnavailableError(
          absl::StrCat("the transfer ended at byte ", file_.size(), " of ", total_));
    }
    if (total_ >= 0 && file_.size() > total_)
      return absl::DataLossError("more bytes came than the file has");
    if (!sha256_.empty() && sha256_ != file_.Digest())
      return absl::DataLossError("the bytes that came are not those of the file's SHA-256");
    return absl::OkStatus();
  }

 private:
  absl::Status Begin(const pb::DownloadWeightsResponse& response) {
    total_ = response.total_size_bytes();
    if (file_.size() == 0) return file_.Restart(response.generation());
    if (response.generation() == file_.generation()) return absl::OkStatus();
    // A gateway that does not look at the request's generation.
    if (absl::Status status = file_.Restart(""); !status.ok()) return status;
    return absl::AbortedError("the file has changed at its source");
  }

  PartialFile& file_;
  const DownloadOptions& options_;
  int64_t total_ = -1;
  std::string sha256_;
};

// One attempt to fetch what is missing. OK when the file is complete.
absl::Status Fetch(FineTuneClient& client, const std::string& name, PartialFile& file,
                   const DownloadOptions& options) {
  CallContext context(client.connection());
  if (absl::Status status = client.Prepare(context, std::nullopt); !status.ok()) return status;
  // The connection was awaited before. Without a deadline this would wait for ever if it is lost.
  context.set_wait_for_ready(false);
  pb::DownloadWeightsRequest request;
  request.set_name(name);
  request.set_read_offset(file.size());
  request.set_generation(file.generation());
  auto reader = client.stub()->DownloadWeights(&context, request);
  pb::DownloadWeightsResponse response;
  Receiver receiver(file, options);
  absl::Status broken;
  while (broken.ok() && reader->Read(&response)) broken = receiver.Take(response);
  if (!broken.ok()) context.TryCancel();
  absl::Status status = ToStatus(reader->Finish());
  if (!broken.ok()) return broken;
  if (ErrorReasonOf(status) == pb::ErrorReason::WEIGHTS_CHANGED && file.size() > 0) {
    if (absl::Status restarted = file.Restart(""); !restarted.ok()) return restarted;
  }
  if (!status.ok()) return status;
  return receiver.CheckEnd();
}

// Fetches in as many attempts as it takes, within the options. Sets `resumed_bytes`.
absl::Status FetchAll(FineTuneClient& client, const std::string& name, PartialFile& file,
                      const DownloadOptions& options, int64_t& resumed_bytes) {
  resumed_bytes = file.size();
  RetryBackoff backoff(options.backoff);
  for (int attempt = 1;; ++attempt) {
    if (absl::Status status = client.connection().AwaitReady(); !status.ok()) return status;
    const int64_t before = file.size();
    absl::Status status = Fetch(client, name, file, options);
    if (status.ok() || IsNoWeights(status)) return status;
    if (file.size() < before) resumed_bytes = 0;
    // Bytes that turn out to be wrong bring a download no further.
    const bool damaged = absl::IsDataLoss(status) || absl::IsOutOfRange(status);
    if (file.size() > before && !damaged) {
      attempt = 0;
      backoff.Reset();
    }
    if (attempt >= options.attempts || (!WorthAnotherTry(status) && !(damaged && before > 0)))
      return status;
    if (damaged) {
      if (absl::Status restarted = file.Restart(""); !restarted.ok()) return restarted;
      resumed_bytes = 0;
    }
    absl::SleepFor(backoff.Next(RetryDelayOf(status)));
  }
}

}  // namespace

absl::StatusOr<pb::Dataset> UploadDataset(FineTuneClient& client, const std::string& path,
                                          const UploadOptions& options) {
  auto data = LookAtTrainingData(path);
  if (!data.ok()) return data.status();
  auto dataset = SendTrainingData(client, *data, options);
  if (!dataset.ok()) return dataset;
  for (const std::string& warning : data->warnings) dataset->add_warnings(warning);
  return dataset;
}

absl::StatusOr<pb::Dataset> SendTrainingData(FineTuneClient& client, const TrainingData& data,
                                             const UploadOptions& options) {
  if (absl::Status status = FaultsOf(data); !status.ok() && !options.force) return status;
  auto spec = Describe(data.path, options.file_name.empty() ? data.file_name : options.file_name,
                       options.public_read);
  if (!spec.ok()) return spec.status();
  RetryBackoff backoff(options.backoff);
  for (int attempt = 1;; ++attempt) {
    if (absl::Status status = client.connection().AwaitReady(); !status.ok()) return status;
    auto dataset = Send(client, data.path, *spec, options);
    if (dataset.ok()) RemoveKnown(data.warnings, *dataset);
    if (dataset.ok() || !WorthAnotherTry(dataset.status()) || attempt >= options.attempts)
      return dataset;
    absl::SleepFor(backoff.Next(RetryDelayOf(dataset.status())));
  }
}

absl::StatusOr<DownloadedWeights> FinishDownload(PartialFile& file, absl::Status status,
                                                 const DownloadOptions& options,
                                                 int64_t resumed_bytes) {
  if (status.ok() && options.check_weights) status = file.CheckWeights();
  if (IsNoWeights(status) || (!status.ok() && file.size() == 0)) file.Discard();
  if (!status.ok()) return status;
  DownloadedWeights download{.size_bytes = file.size(), .resumed_bytes = resumed_bytes};
  auto digest = file.Finish();
  if (!digest.ok()) return digest.status();
  download.sha256 = *std::move(digest);
  return download;
}

absl::StatusOr<DownloadedWeights> DownloadWeights(FineTuneClient& client, const std::string& name,
                                                  const std::string& path,
                                                  const DownloadOptions& options) {
  auto file = PartialFile::Open(path);
  if (!file.ok()) return file.status();
  int64_t resumed_bytes = 0;
  absl::Status status = FetchAll(client, name, **file, options, resumed_bytes);
  return FinishDownload(**file, std::move(status), options, resumed_bytes);
}

}  // namespace finetune::inline client
