#include "server/jobs/record/version_change.h"

#include <utility>

#include "server/base/check.h"
#include "server/jobs/record/wire.h"

namespace finetune {
namespace {

constexpr uint32_t kVarint = 0;
constexpr uint32_t kLength = 2;

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

}  // namespace

VersionChange::VersionChange(VersionPtr after, VersionPtr before, absl::Time time,
                             std::string resume_token, bool forgotten)
    : after_(std::move(after)),
      before_(std::move(before)),
      time_(time),
      resume_token_(std::move(resume_token)),
      forgotten_(forgotten) {}

const grpc::ByteBuffer& VersionChange::Encoded(pb::Change::Type type, pb::FineTuneView view) const {
  CHECK(type >= 0 && type < kTypes);
  Form& form = forms_[type * kViews + (view == pb::FINE_TUNE_VIEW_FULL ? 1 : 0)];
  std::call_once(form.once, [&] { form.bytes = EncodeChange(*after_, type, view, resume_token_); });
  return form.bytes;
}

ChangePtr ParseChange(const StoredChange& stored, VersionPtr before, const ResumePoint& point) {
  VersionPtr after = ParseVersion(stored.after);
  if (after == nullptr || after->id != stored.fine_tune_id || after->revision != stored.revision)
    return nullptr;
  // A job keeps its place in the order of all jobs; a new one comes last.
  const uint64_t place = before == nullptr ? stored.revision : before->first_revision;
  if (after->first_revision != place || (before == nullptr && stored.forgotten)) return nullptr;
  if (before != nullptr && before->id != after->id) return nullptr;
  return std::make_shared<VersionChange>(std::move(after), std::move(before), stored.time,
                                         EncodeResumeToken(point), stored.forgotten);
}

// The job's own bytes come last, so that a response is two slices: a head and the shared job.
grpc::ByteBuffer EncodeChange(const FineTuneVersion& version, pb::Change::Type type,
                              pb::FineTuneView view, const std::string& resume_token) {
  using Response = pb::WatchFineTunesResponse;
  const grpc::Slice& job = version.Bytes(view);
  std::string head;
  if (!resume_token.empty()) {
    AppendTag(head, Response::kResumeTokenFieldNumber, kLength);
    AppendVarint(head, resume_token.size());
    head += resume_token;
  }
  AppendTag(head, Response::kRevisionFieldNumber, kVarint);
  AppendVarint(head, version.revision);

  AppendTag(head, Response::kChangeFieldNumber, kLength);
  // Both inner tags take one byte, and so does the type.
  AppendVarint(head, 2 + 1 + VarintSize(job.size()) + job.size());
  AppendTag(head, pb::Change::kTypeFieldNumber, kVarint);
  AppendVarint(head, type);
  AppendTag(head, pb::Change::kFineTuneFieldNumber, kLength);
  AppendVarint(head, job.size());
  const grpc::Slice slices[] = {grpc::Slice(head), job};
  return grpc::ByteBuffer(slices, 2);
}

}  // namespace finetune
