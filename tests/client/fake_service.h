#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server.h>
#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace finetune {

namespace pb = ::segmind::finetune::v1;

// An error as the gateway sends it: ErrorInfo with the reason, then the other details.
grpc::Status FakeError(grpc::StatusCode code, const std::string& message,
                       pb::ErrorReason::Reason reason,
                       const std::vector<const google::protobuf::Message*>& details = {});

// A gateway without Segmind: a table of jobs, a log of changes, and faults on demand. Serves on a
// port of its own from construction to destruction. Thread-safe.
class FakeService final : public pb::FineTuneService::Service {
 public:
  FakeService();
  ~FakeService() override;

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  // Sets a job's state as the next change. Returns its revision.
  uint64_t Put(const std::string& id, pb::FineTune::State state,
               const std::string& base_model = "");

  // The n-th stream from now on ends with UNAVAILABLE after so many messages.
  void BreakStreamsAfter(std::vector<int> messages);
  // Tokens given out before are from another history; the log begins anew.
  void BeginAnotherHistory();
  // Changes before now cannot be replayed.
  void ForgetHistory();
  // Streams that are open stay open and say nothing any more.
  void FallSilent();
  // The server goes away, with all that it knows kept, and comes back at the same address once
  // `while_down` has run.
  void Restart(const std::function<void()>& while_down);
  // Resume tokens are refused with RESUME_TOKEN_INVALID from now on.
  void RefuseTokens();
  // Every call but the watch fails with it, or so many of them; OK ends that.
  void FailCalls(grpc::Status status, int count = -1);
  // Creates do their work, and the answer is lost this often.
  void LoseAnswers(int count);
  // The weights; each download ends with UNAVAILABLE after so many bytes.
  void SetWeights(std::string bytes, std::string generation, size_t break_after);
  // Downloads that name another generation are refused (WEIGHTS_CHANGED), or given all the same.
  void RefuseOtherGenerations(bool refuse);
  // What the last response of a whole download says of its digest.
  void TellSha256(std::string sha256);
  // Counts the next chunks wrongly, so many of them.
  void DamageChunks(int count);
  void PutWeightsUri(const std::string& id, const std::string& uri);
  // A job that has failed, as the next change.
  void Fail(const std::string& id, pb::Failure::Reason reason, const std::string& message);
  // Every download fails with it.
  void FailDownloads(grpc::Status status);
  void SetCaller(const std::string& name, pb::CallerIdentity::Role role);
  void SetUploadUri(const std::string& uri);
  // Uploads and downloads are UNIMPLEMENTED.
  void HaveNoTransfers();

  int streams_opened();
  // Blocks until so many streams have been opened.
  void AwaitStreams(int count);
  std::vector<pb::CreateFineTuneRequest> creates();
  std::vector<pb::UpdateFineTuneRequest> updates();
  std::string last_authorization();
  // Of the last list.
  std::string last_filter();
  std::string uploaded();

  grpc::Status CreateFineTune(grpc::ServerContext*, const pb::CreateFineTuneRequest*,
                              pb::FineTune*) override;
  grpc::Status GetFineTune(grpc::ServerContext*, const pb::GetFineTuneRequest*,
                           pb::FineTune*) override;
  grpc::Status ListFineTunes(grpc::ServerContext*, const pb::ListFineTunesRequest*,
                             pb::ListFineTunesResponse*) override;
  grpc::Status WatchFineTunes(grpc::ServerContext*, const pb::WatchFineTunesRequest*,
                              grpc::ServerWriter<pb::WatchFineTunesResponse>*) override;
  grpc::Status WaitFineTune(grpc::ServerContext*, const pb::WaitFineTuneRequest*,
                            pb::WaitFineTuneResponse*) override;
  grpc::Status UpdateFineTune(grpc::ServerContext*, const pb::UpdateFineTuneRequest*,
                              pb::FineTune*) override;
  grpc::Status CreateUploadUrl(grpc::ServerContext*, const pb::CreateUploadUrlRequest*,
                               pb::UploadUrl*) override;
  grpc::Status GetGatewayStatus(grpc::ServerContext*, const pb::GetGatewayStatusRequest*,
                                pb::GatewayStatus*) override;
  // One row, whose group tells what was asked for.
  grpc::Status GetSpending(grpc::ServerContext*, const pb::GetSpendingRequest*,
                           pb::GetSpendingResponse*) override;
  grpc::Status UploadDataset(grpc::ServerContext*, grpc::ServerReader<pb::UploadDatasetRequest>*,
                             pb::Dataset*) override;
  grpc::Status DownloadWeights(grpc::ServerContext*, const pb::DownloadWeightsRequest*,
                               grpc::ServerWriter<pb::DownloadWeightsResponse>*) override;

 private:
  struct Stream;
  void Listen();
  // The next message of a stream, if there is one.
  std::optional<pb::WatchFineTunesResponse> Next(Stream& stream,
                                                 const pb::WatchFineTunesRequest& request);
  std::string Token(uint64_t revision) const;
  // What a call is to fail with.
  grpc::Status NextFailure();

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  // Guarded by mu_ from here on.
  std::mutex mu_;
  std::condition_variable changed_;
  bool ending_ = false;
  int history_ = 1;
  uint64_t revision_ = 0;
  uint64_t oldest_kept_ = 0;
  std::map<std::string, pb::FineTune> jobs_;
  std::vector<pb::FineTune> log_;
  std::vector<int> breaks_;
  int streams_ = 0;
  int silent_up_to_ = 0;
  bool refuse_tokens_ = false;
  grpc::Status failure_;
  int failures_left_ = 0;
  grpc::Status download_failure_;
  pb::CallerIdentity caller_;
  std::string filter_;
  int lost_answers_ = 0;
  std::vector<pb::CreateFineTuneRequest> creates_;
  std::map<std::string, std::string> by_request_;
  std::vector<pb::UpdateFineTuneRequest> updates_;
  std::string authorization_;
  int damaged_chunks_ = 0;
  std::string weights_, generation_, sha256_, uploaded_, upload_uri_;
  bool refuse_generations_ = true;
  size_t break_after_ = 0;
  bool no_transfers_ = false;
};

}  // namespace finetune
