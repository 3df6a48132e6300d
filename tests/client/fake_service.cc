#include "tests/client/fake_service.h"

#include <grpcpp/server_builder.h>

#include <algorithm>

#include "server/base/crc32c.h"
#include "server/base/error_details.h"

namespace finetune {

grpc::Status FakeError(grpc::StatusCode code, const std::string& message,
                       pb::ErrorReason::Reason reason,
                       const std::vector<const google::protobuf::Message*>& details) {
  rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  rpc::ErrorInfo info;
  info.set_reason(pb::ErrorReason::Reason_Name(reason));
  info.set_domain("segmind-finetune-gateway");
  AddDetail(status, info);
  for (const auto* detail : details) AddDetail(status, *detail);
  return {code, message, status.SerializeAsString()};
}

FakeService::FakeService() { Listen(); }

void FakeService::Listen() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(target(), grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void FakeService::Restart(const std::function<void()>& while_down) {
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  while_down();
  Listen();
}

FakeService::~FakeService() {
  {
    std::lock_guard lock(mu_);
    ending_ = true;
    changed_.notify_all();
  }
  server_->Shutdown(std::chrono::system_clock::now());
}

uint64_t FakeService::Put(const std::string& id, pb::FineTune::State state,
                          const std::string& base_model) {
  std::lock_guard lock(mu_);
  pb::FineTune& job = jobs_["fineTunes/" + id];
  job.set_name("fineTunes/" + id);
  job.set_state(state);
  if (!base_model.empty()) job.set_base_model(base_model);
  if (job.display_name().empty()) job.set_display_name("job " + id);
  job.set_revision(++revision_);
  job.set_etag("etag-" + std::to_string(revision_));
  log_.push_back(job);
  changed_.notify_all();
  return revision_;
}

void FakeService::BreakStreamsAfter(std::vector<int> messages) {
  std::lock_guard lock(mu_);
  breaks_ = std::move(messages);
  breaks_.insert(breaks_.begin(), streams_, -1);
}

void FakeService::BeginAnotherHistory() {
  std::lock_guard lock(mu_);
  ++history_;
  log_.clear();
  jobs_.clear();
  revision_ = 0;
  oldest_kept_ = 0;
}

void FakeService::ForgetHistory() {
  std::lock_guard lock(mu_);
  oldest_kept_ = revision_ + 1;
}

void FakeService::FallSilent() {
  std::lock_guard lock(mu_);
  silent_up_to_ = streams_;
}

void FakeService::RefuseTokens() {
  std::lock_guard lock(mu_);
  refuse_tokens_ = true;
}

void FakeService::FailCalls(grpc::Status status, int count) {
  std::lock_guard lock(mu_);
  failure_ = std::move(status);
  failures_left_ = count;
}

grpc::Status FakeService::NextFailure() {
  if (failures_left_ == 0) return grpc::Status::OK;
  if (failures_left_ > 0) --failures_left_;
  return failure_;
}

void FakeService::LoseAnswers(int count) {
  std::lock_guard lock(mu_);
  lost_answers_ = count;
}

void FakeService::SetWeights(std::string bytes, std::string generation, size_t break_after) {
  std::lock_guard lock(mu_);
  weights_ = std::move(bytes);
  generation_ = std::move(generation);
  break_after_ = break_after;
}

void FakeService::RefuseOtherGenerations(bool refuse) {
  std::lock_guard lock(mu_);
  refuse_generations_ = refuse;
}

void FakeService::DamageChunks(int count) {
  std::lock_guard lock(mu_);
  damaged_chunks_ = count;
}

void FakeService::TellSha256(std::string sha256) {
  std::lock_guard lock(mu_);
  sha256_ = std::move(sha256);
}

void FakeService::PutWeightsUri(const std::string& id, const std::string& uri) {
  Put(id, pb::FineTune::TRAINED);
  std::lock_guard lock(mu_);
  jobs_["fineTunes/" + id].set_weights_uri(uri);
}

void FakeService::Fail(const std::string& id, pb::Failure::Reason reason,
                       const std::string& message) {
  {
    std::lock_guard lock(mu_);
    pb::Failure& failure = *jobs_["fineTunes/" + id].mutable_failure();
    failure.set_reason(reason);
    failure.set_message(message);
  }
  Put(id, pb::FineTune::FAILED);
}

void FakeService::FailDownloads(grpc::Status status) {
  std::lock_guard lock(mu_);
  download_failure_ = std::move(status);
}

void FakeService::SetCaller(const std::string& name, pb::CallerIdentity::Role role) {
  std::lock_guard lock(mu_);
  caller_.set_name(name);
  caller_.set_role(role);
}

std::string FakeService::last_filter() {
  std::lock_guard lock(mu_);
  return filter_;
}

void FakeService::SetUploadUri(const std::string& uri) {
  std::lock_guard lock(mu_);
  upload_uri_ = uri;
}

void FakeService::HaveNoTransfers() {
  std::lock_guard lock(mu_);
  no_transfers_ = true;
}

int FakeService::streams_opened() {
  std::lock_guard lock(mu_);
  return streams_;
}

void FakeService::AwaitStreams(int count) {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [&] { return streams_ >= count; });
}

std::vector<pb::CreateFineTuneRequest> FakeService::creates() {
  std::lock_guard lock(mu_);
  return creates_;
}

std::vector<pb::UpdateFineTuneRequest> FakeService::updates() {
  std::lock_guard lock(mu_);
  return updates_;
}

std::string FakeService::last_authorization() {
  std::lock_guard lock(mu_);
  return authorization_;
}

std::string FakeService::uploaded() {
  std::lock_guard lock(mu_);
  return uploaded_;
}

std::string FakeService::Token(uint64_t revision) const {
  return std::to_string(history_) + ":" + std::to_string(revision);
}

grpc::Status FakeService::CreateFineTune(grpc::ServerContext*,
                                         const pb::CreateFineTuneRequest* request,
                                         pb::FineTune* response) {
  std::string id;
  {
    std::lock_guard lock(mu_);
    creates_.push_back(*request);
    if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
    if (request->validate_only()) {
      *response = request->fine_tune();
      return grpc::Status::OK;
    }
    std::string& known = by_request_[request->request_id()];
    if (known.empty()) known = "new" + std::to_string(by_request_.size());
    id = known;
    if (jobs_.count("fineTunes/" + id) == 0) jobs_["fineTunes/" + id] = request->fine_tune();
    if (lost_answers_ > 0) {
      --lost_answers_;
      return {grpc::StatusCode::UNAVAILABLE, "the answer was lost"};
    }
  }
  Put(id, pb::FineTune::QUEUED);
  std::lock_guard lock(mu_);
  *response = jobs_["fineTunes/" + id];
  return grpc::Status::OK;
}

grpc::Status FakeService::GetFineTune(grpc::ServerContext* context,
                                      const pb::GetFineTuneRequest* request,
                                      pb::FineTune* response) {
  std::lock_guard lock(mu_);
  const auto header = context->client_metadata().find("authorization");
  if (header != context->client_metadata().end()) {
    authorization_ = std::string(header->second.data(), header->second.size());
  }
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  const auto job = jobs_.find(request->name());
  if (job == jobs_.end()) {
    return FakeError(grpc::StatusCode::NOT_FOUND, "no job " + request->name(),
                     pb::ErrorReason::FINE_TUNE_NOT_FOUND);
  }
  *response = job->second;
  return grpc::Status::OK;
}

grpc::Status FakeService::ListFineTunes(grpc::ServerContext*,
                                        const pb::ListFineTunesRequest* request,
                                        pb::ListFineTunesResponse* response) {
  std::lock_guard lock(mu_);
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  filter_ = request->filter();
  const size_t first = request->page_token().empty() ? 0 : std::stoul(request->page_token());
  const size_t size = request->page_size() == 0 ? 50 : request->page_size();
  size_t position = 0;
  for (const auto& [name, job] : jobs_) {
    if (position >= first && position < first + size) *response->add_fine_tunes() = job;
    ++position;
  }
  if (first + size < jobs_.size()) response->set_next_page_token(std::to_string(first + size));
  response->set_total_size(static_cast<int>(jobs_.size()));
  response->mutable_observe_time()->set_seconds(1'000'000'000);
  return grpc::Status::OK;
}

struct FakeService::Stream {
  std::vector<pb::WatchFineTunesResponse> due;
  size_t sent = 0;
  uint64_t cursor = 0;
  size_t log_position = 0;
};

std::optional<pb::WatchFineTunesResponse> FakeService::Next(
    Stream& stream, const pb::WatchFineTunesRequest& request) {
  if (stream.sent < stream.due.size()) return stream.due[stream.sent++];
  while (stream.log_position < log_.size()) {
    const pb::FineTune& job = log_[stream.log_position++];
    const bool wanted = request.names().empty() ||
                        std::count(request.names().begin(), request.names().end(), job.name()) > 0;
    if (job.revision() <= stream.cursor || !wanted) continue;
    pb::WatchFineTunesResponse response;
    response.mutable_change()->set_type(pb::Change::UPDATED);
    *response.mutable_change()->mutable_fine_tune() = job;
    response.set_revision(job.revision());
    response.set_resume_token(Token(job.revision()));
    return response;
  }
  return std::nullopt;
}

grpc::Status FakeService::WatchFineTunes(grpc::ServerContext* context,
                                         const pb::WatchFineTunesRequest* request,
                                         grpc::ServerWriter<pb::WatchFineTunesResponse>* writer) {
  std::unique_lock lock(mu_);
  const int index = streams_++;
  changed_.notify_all();
  const int break_after = index < static_cast<int>(breaks_.size()) ? breaks_[index] : -1;
  for (const std::string& name : request->names()) {
    if (jobs_.count(name) == 0) {
      return FakeError(grpc::StatusCode::NOT_FOUND, "no job " + name,
                       pb::ErrorReason::FINE_TUNE_NOT_FOUND);
    }
  }
  Stream stream;
  bool resumes = false;
  if (!request->resume_token().empty()) {
    if (refuse_tokens_) {
      return FakeError(grpc::StatusCode::INVALID_ARGUMENT, "not my token",
                       pb::ErrorReason::RESUME_TOKEN_INVALID);
    }
    const size_t colon = request->resume_token().find(':');
    const int history = std::stoi(request->resume_token().substr(0, colon));
    stream.cursor = std::stoull(request->resume_token().substr(colon + 1));
    resumes = history == history_ && stream.cursor + 1 >= oldest_kept_;
    if (!resumes) {
      pb::WatchFineTunesResponse reset;
      reset.mutable_restart()->set_reason(history == history_ ? pb::Restart::EXPIRED
                                                              : pb::Restart::OTHER_HISTORY);
      stream.due.push_back(reset);
    }
  }
  if (!resumes) {
    for (const auto& [name, job] : jobs_) {
      if (!request->names().empty() &&
          std::count(request->names().begin(), request->names().end(), name) == 0) {
        continue;
      }
      pb::WatchFineTunesResponse response;
      response.mutable_change()->set_type(pb::Change::SNAPSHOT);
      *response.mutable_change()->mutable_fine_tune() = job;
      response.set_revision(job.revision());
      if (!request->skip_snapshot()) stream.due.push_back(response);
    }
    pb::WatchFineTunesResponse synced;
    synced.mutable_synced();
    synced.set_revision(revision_);
    synced.set_resume_token(Token(revision_));
    stream.due.push_back(synced);
    stream.cursor = revision_;
  }
  for (int messages = 0;;) {
    if (messages == break_after) return {grpc::StatusCode::UNAVAILABLE, "the stream broke"};
    if (ending_ || context->IsCancelled()) return grpc::Status::OK;
    auto response = index < silent_up_to_ ? std::nullopt : Next(stream, *request);
    if (!response) {
      // A cancellation wakes nobody.
      changed_.wait_for(lock, std::chrono::milliseconds(10));
      continue;
    }
    lock.unlock();
    writer->Write(*response);
    ++messages;
    lock.lock();
  }
}

grpc::Status FakeService::WaitFineTune(grpc::ServerContext* context,
                                       const pb::WaitFineTuneRequest* request,
                                       pb::WaitFineTuneResponse* response) {
  std::unique_lock lock(mu_);
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(request->timeout().seconds()) +
                   std::chrono::nanoseconds(request->timeout().nanos());
  const auto reached = [&] { return jobs_[request->name()].state() == request->until(); };
  response->set_done(changed_.wait_until(lock, end, reached));
  *response->mutable_fine_tune() = jobs_[request->name()];
  return grpc::Status::OK;
}

grpc::Status FakeService::UpdateFineTune(grpc::ServerContext*,
                                         const pb::UpdateFineTuneRequest* request,
                                         pb::FineTune* response) {
  std::lock_guard lock(mu_);
  updates_.push_back(*request);
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  *response = request->fine_tune();
  return grpc::Status::OK;
}

grpc::Status FakeService::CreateUploadUrl(grpc::ServerContext*,
                                          const pb::CreateUploadUrlRequest* request,
                                          pb::UploadUrl* response) {
  std::lock_guard lock(mu_);
  response->set_upload_uri(upload_uri_.empty() ? "https://storage/put/" + request->file_name()
                                               : upload_uri_);
  response->set_data_source_uri("https://storage/get/" + request->file_name());
  (*response->mutable_required_headers())["Content-Type"] = "application/zip";
  return grpc::Status::OK;
}

grpc::Status FakeService::GetGatewayStatus(grpc::ServerContext*, const pb::GetGatewayStatusRequest*,
                                           pb::GatewayStatus* response) {
  std::lock_guard lock(mu_);
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  response->set_version("1.2.3");
  *response->mutable_caller() = caller_;
  response->set_upstream_state(pb::GatewayStatus::HEALTHY);
  response->set_fine_tune_count(static_cast<int64_t>(jobs_.size()));
  return grpc::Status::OK;
}

grpc::Status FakeService::GetSpending(grpc::ServerContext*, const pb::GetSpendingRequest* request,
                                      pb::GetSpendingResponse* response) {
  pb::SpendingRow& row = *response->add_rows();
  row.set_period(request->step() == pb::GetSpendingRequest::DAY ? "2026-11-26" : "2026-11");
  row.set_group(pb::GetSpendingRequest::GroupBy_Name(request->group_by()) + ", \"" +
                request->label_key() + "\" in " + request->time_zone() + " from " +
                std::to_string(request->start_time().seconds()));
  row.set_jobs(3);
  row.set_failed_jobs(1);
  row.set_unpriced_jobs(1);
  pb::Cost& cost = *row.add_costs();
  cost.set_unit("credits");
  cost.set_micros(2'500'000);
  return grpc::Status::OK;
}

grpc::Status FakeService::UploadDataset(grpc::ServerContext*,
                                        grpc::ServerReader<pb::UploadDatasetRequest>* reader,
                                        pb::Dataset* response) {
  pb::UploadDatasetRequest request;
  std::string bytes;
  reader->Read(&request);
  const pb::DatasetSpec spec = request.spec();
  while (reader->Read(&request)) bytes += request.chunk();
  std::lock_guard lock(mu_);
  if (no_transfers_) return {grpc::StatusCode::UNIMPLEMENTED, ""};
  uploaded_ = bytes;
  response->set_data_source_uri("https://storage/" + spec.file_name());
  response->set_size_bytes(static_cast<int64_t>(bytes.size()));
  response->set_sha256(spec.sha256());
  response->add_warnings("1 sub-folder");
  return grpc::Status::OK;
}

grpc::Status FakeService::DownloadWeights(grpc::ServerContext*,
                                          const pb::DownloadWeightsRequest* request,
                                          grpc::ServerWriter<pb::DownloadWeightsResponse>* writer) {
  std::unique_lock lock(mu_);
  if (no_transfers_) return {grpc::StatusCode::UNIMPLEMENTED, ""};
  if (!download_failure_.ok()) return download_failure_;
  if (grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  if (refuse_generations_ && !request->generation().empty() &&
      request->generation() != generation_) {
    return FakeError(grpc::StatusCode::ABORTED, "other weights", pb::ErrorReason::WEIGHTS_CHANGED);
  }
  const std::string weights = weights_, sha256 = sha256_;
  const size_t break_after = break_after_;
  pb::DownloadWeightsResponse response;
  response.set_total_size_bytes(static_cast<int64_t>(weights.size()));
  response.set_generation(generation_);
  lock.unlock();
  if (weights.empty()) writer->Write(response);
  constexpr size_t kChunk = 1000;
  size_t sent = 0;
  for (size_t offset = request->read_offset(); offset < weights.size() && sent < break_after;
       offset += kChunk) {
    response.set_offset(static_cast<int64_t>(offset));
    response.set_chunk(weights.substr(offset, kChunk));
    sent += response.chunk().size();
    if (sent == weights.size()) response.set_sha256(sha256);
    response.set_crc32c(Crc32c(response.chunk()));
    lock.lock();
    if (damaged_chunks_ > 0 && offset > 0) {
      --damaged_chunks_;
      response.set_crc32c(response.crc32c() ^ 1);
    }
    lock.unlock();
    writer->Write(response);
    response.Clear();
  }
  if (request->read_offset() + sent < weights.size())
    return {grpc::StatusCode::UNAVAILABLE, "broken"};
  return grpc::Status::OK;
}

}  // namespace finetune
