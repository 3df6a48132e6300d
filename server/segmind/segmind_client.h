#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/base/call_budget.h"
#include "server/base/clock.h"
#include "server/base/fair_share.h"
#include "server/base/metrics.h"
#include "server/base/secret.h"
#include "server/base/trace.h"
#include "server/http/http_client.h"
#include "server/segmind/account_credits.h"
#include "server/segmind/upstream_job.h"
#include "server/segmind/upstream_list.h"

namespace finetune {

// Where the API key comes from. Thread-safe.
class ApiKeySource {
 public:
  virtual ~ApiKeySource() = default;
  // The key now. FAILED_PRECONDITION, saying what to do, if there is none.
  virtual absl::StatusOr<Secret> Get() = 0;
  // Segmind refused `key`: reads it again. True if there is another one to try.
  virtual bool Reread(const Secret& key) = 0;
};

// The outcome of a submit.
struct SubmitOutcome {
  enum class Kind {
    kAccepted,  // `job` has the id and, where given, status and name.
    kRefused,   // A definite no; `status` is the typed error.
    kNotSent,   // No byte left: it may be tried again. `status` says why.
    kUnknown,   // Anything else: Segmind may or may not have the job.
  };
  Kind kind = Kind::kUnknown;
  UpstreamJob job;
  absl::Status status;
};

// All jobs, as Segmind lists them.
struct ListAnswer {
  UpstreamList pages;
  // When the read of the first page began, or a copy in a cache was made: what it shows is at least
  // as new.
  absl::Time start_time;
  // What Segmind's clock said meanwhile, by its `Date` header.
  std::optional<absl::Time> upstream_time;
};

// One job, as Segmind describes it.
struct DetailsAnswer {
  UpstreamJob job;
  absl::Time start_time;  // When the read began.
};

// Where a dataset can be put, and where it can then be read.
struct UploadUrlAnswer {
  Secret presigned_url;  // Whoever has it can write the file.
  std::string s3_url;
};

// What is passed down with a call: when it must have ended, which trace it belongs to, on whose
// behalf it is made (null for the gateway's own), and whether somebody still waits for it (null:
// yes). A submit ignores cancellation.
struct CallContext {
  CallContext(absl::Time by, const TraceContext& in = {},  // NOLINT: often there is neither.
              std::shared_ptr<Sharer> whose = nullptr,
              std::shared_ptr<const Cancellation> until = nullptr)
      : deadline(by), trace(in), sharer(std::move(whose)), cancellation(std::move(until)) {}

  absl::Time deadline;
  TraceContext trace;
  std::shared_ptr<Sharer> sharer;
  std::shared_ptr<const Cancellation> cancellation;
  // For a submit: asked once there is a connection, just before the first byte; if false, the
  // outcome is kNotSent. Null: yes.
  std::function<bool()> may_send;
};

// Segmind's fine-tuning API, one method for each call. Keeps the account's rate limit, rereads the
// API key when it is refused, and retries reads (never a submit) with jitter until their deadline.
// Thread-safe; every callback runs exactly once, on the transport's or the clock's thread, and must
// not block. `http` and `clock` outlive it.
//
// Errors are typed (base/error.h), with the UPSTREAM_* reasons of error_table.h.
class SegmindClient {
 public:
  struct Options {
    std::string url = "https://api.segmind.com";
    int calls_per_minute = 50;
    // Set if other processes make calls for the same account. Outlives the client.
    CallBudget* call_budget = nullptr;
    // For one try; the caller's deadline may end it earlier.
    absl::Duration read_timeout = absl::Seconds(30);
    absl::Duration list_timeout = absl::Seconds(120);
    absl::Duration submit_timeout = absl::Seconds(60);
    // The limits for an answer, or for all pages of a list, packed and unpacked. What exceeds them
    // is UPSTREAM_MALFORMED.
    size_t max_answer_bytes = size_t{64} << 20;
    size_t max_listed_jobs = 100'000;
    // How long Segmind's word on the account's credits counts.
    absl::Duration credits_good_for = absl::Hours(1);
  };

  template <typename T>
  using Done = absl::AnyInvocable<void(absl::StatusOr<T>) &&>;

  SegmindClient(Options options, HttpClient& http, ApiKeySource& key, Clock& clock,
                Metrics& metrics);
  ~SegmindClient();

  // Sends `fine_tune` under `upstream_name` once, waiting for the rate limit until the deadline;
  // past that, kNotSent with UPSTREAM_RATE_LIMITED. Once sent the call runs to
  // options.submit_timeout, whatever the deadline.
  void Submit(const pb::FineTune& fine_tune, const std::string& upstream_name,
              const CallContext& context, absl::AnyInvocable<void(SubmitOutcome) &&> done);

  // NOT_FOUND / FINE_TUNE_NOT_FOUND if Segmind does not know the id.
  void GetDetails(const std::string& upstream_id, const CallContext& context,
                  Done<DetailsAnswer> done);

  // The bodies, not parsed, because parsing 80 MB is not for the transport's thread; see
  // ListReader. A list that says it goes on is followed as UpstreamPager says, with one call for
  // each page.
  void GetList(const CallContext& context, Done<ListAnswer> done);

  // `file_name` with or without `.zip`.
  void CreateUploadUrl(const std::string& file_name, bool is_public, const CallContext& context,
                       Done<UploadUrlAnswer> done);

  void SetPublic(const std::string& upstream_id, bool is_public, const CallContext& context,
                 absl::AnyInvocable<void(absl::Status) &&> done);

  // A temporary URL for weights that are not public; for a minute the same one.
  void CreateDownloadUrl(const std::string& cloud_storage_url, const CallContext& context,
                         Done<Secret> done);
  // Storage refused it.
  void ForgetDownloadUrl(const std::string& cloud_storage_url);

  // What the account has left, in millionths of a credit; credits() has it, too.
  void GetCredits(const CallContext& context, Done<int64_t> done);
  AccountCredits& credits();

  // For shutdown: no call waits for the rate limit any longer. Calls on their way go on.
  void EndQueue();

  // How Segmind answers, for GetGatewayStatus: of the latest calls.
  pb::GatewayStatus::UpstreamState state() const;
  // Another process reads the list from now on: how lists went here no longer counts.
  void ForgetLists();
  // Calls left in the current minute.
  int calls_left() const;

 private:
  class Core;
  struct ListRead;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
