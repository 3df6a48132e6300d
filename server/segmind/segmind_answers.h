#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/segmind/segmind_client.h"
#include "server/segmind/upstream_exchange.h"

namespace finetune {

// The requests and answers of Segmind's calls. Requests lack key and deadline; answers are 2xx, and
// one that cannot be read is INTERNAL / UPSTREAM_MALFORMED.

HttpRequest SubmitRequest(const std::string& url, const pb::FineTune& fine_tune,
                          const std::string& upstream_name);
HttpRequest DetailsRequest(const std::string& url, const std::string& upstream_id);
HttpRequest ListRequest(const std::string& url, size_t max_bytes);
HttpRequest UploadUrlRequest(const std::string& url, const std::string& file_name, bool is_public);
HttpRequest AccessUpdateRequest(const std::string& url, const std::string& upstream_id,
                                bool is_public);
HttpRequest CreditsRequest(const std::string& url);
HttpRequest DownloadUrlRequest(const std::string& url, const std::string& cloud_storage_url);

// The outcome of a submit: kUnknown if there is neither a job nor, by JudgeAnswer, a refusal.
SubmitOutcome SubmitOutcomeOf(const CallSubject& subject, const ExchangeResult& result);

// The job, which must be the one that was asked for.
absl::StatusOr<UpstreamJob> ReadDetails(const CallSubject& subject, const ExchangeResult& result);
absl::StatusOr<UploadUrlAnswer> ReadUploadUrl(const CallSubject& subject,
                                              const ExchangeResult& result);
// In millionths of a credit, free credits included.
absl::StatusOr<int64_t> ReadCredits(const CallSubject& subject, const ExchangeResult& result);
absl::StatusOr<Secret> ReadDownloadUrl(const CallSubject& subject, const ExchangeResult& result);

}  // namespace finetune
