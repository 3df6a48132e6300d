#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "server/jobs/record/resume_token.h"
#include "server/jobs/record/version.h"
#include "server/store/store.h"

namespace finetune {

// One committed change of one job, shared by all who watch. Its wire form is made once for each
// type and view, on first use, and the bytes are shared by every stream. Thread-safe.
class VersionChange {
 public:
  // `before` is null if the change made the job. `resume_token` is the one for right after this
  // change. If the job is `forgotten`, `after` is what it was last.
  VersionChange(VersionPtr after, VersionPtr before, absl::Time time, std::string resume_token,
                bool forgotten = false);

  uint64_t revision() const { return after_->revision; }
  const VersionPtr& after() const { return after_; }
  const VersionPtr& before() const { return before_; }
  // The job has left the record and no longer matches any filter.
  bool forgotten() const { return forgotten_; }
  absl::Time time() const { return time_; }
  const std::string& resume_token() const { return resume_token_; }

  // A serialised pb::WatchFineTunesResponse.
  const grpc::ByteBuffer& Encoded(pb::Change::Type type, pb::FineTuneView view) const;

 private:
  // Constant after construction.
  const VersionPtr after_;
  const VersionPtr before_;
  const absl::Time time_;
  const std::string resume_token_;
  const bool forgotten_;

  // Each made once.
  struct Form {
    std::once_flag once;
    grpc::ByteBuffer bytes;
  };
  static constexpr int kTypes = pb::Change::Type_ARRAYSIZE;
  static constexpr int kViews = 2;
  mutable std::array<Form, size_t{kTypes} * kViews> forms_;
};

using ChangePtr = std::shared_ptr<const VersionChange>;

// A change out of the store. `before` is what the job is here before it; null if it is not here.
// Null if the change does not fit that, or its bytes are no fine-tune.
ChangePtr ParseChange(const StoredChange& stored, VersionPtr before, const ResumePoint& point);

// A pb::WatchFineTunesResponse with one change, sharing the job's bytes. An empty token leaves the
// field out.
grpc::ByteBuffer EncodeChange(const FineTuneVersion& version, pb::Change::Type type,
                              pb::FineTuneView view, const std::string& resume_token);

}  // namespace finetune
