#include "server/service/requests/session.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace finetune {

namespace {

absl::StatusOr<ResumePoint> PointOf(const std::string& token) {
  return DecodeResumeToken(std::string_view(token).substr(token.find('.') + 1));
}

}  // namespace

std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  return std::string(found->second.data(), found->second.size());
}

void Sessions::Enter(UnaryCall& call, absl::AnyInvocable<void() &&> answer) {
  const auto token = MetadataOf(call.context(), kSessionKey);
  if (!token) return std::move(answer)();
  if (token->empty()) {
    Answer(call, std::nullopt);
    return std::move(answer)();
  }
  const auto point = PointOf(*token);
  if (!point.ok()) return call.Fail(point.status());
  auto enter = [this, point = *point, &call, answer = std::move(answer)]() mutable {
    Answer(call, point);
    std::move(answer)();
  };
  if (catalog_.HasPoint(*point) || !catalog_.MayComeTo(*point)) return std::move(enter)();
  recorder_.CatchUp([&call, enter = std::move(enter)](absl::Status status) mutable {
    call.Later([&call, status = std::move(status), enter = std::move(enter)]() mutable {
      if (!status.ok()) return call.Fail(status);
      std::move(enter)();
    });
  });
}

void Sessions::Answer(UnaryCall& call, const std::optional<ResumePoint>& seen) {
  // Each point before the question whether it is still there: nothing is lost unseen in between.
  const ResumePoint before = catalog_.point();
  const bool was_lost = seen && !catalog_.HasPoint(*seen);
  call.OnAnswerDo([this, before, was_lost, seen](grpc::ServerContextBase& context) {
    ResumePoint now = catalog_.point();
    const bool is_lost = !catalog_.HasPoint(before);
    if (is_lost) now = before;
    if (seen && (was_lost || is_lost)) context.AddInitialMetadata(kSessionLostKey, "1");
    context.AddInitialMetadata(kSessionKey,
                               absl::StrCat(now.revision, ".", EncodeResumeToken(now)));
  });
}

bool Sessions::MayBeAhead(const grpc::ServerContextBase& context) const {
  const auto token = MetadataOf(context, kSessionKey);
  if (!token || token->empty()) return false;
  const auto point = PointOf(*token);
  return point.ok() && !catalog_.HasPoint(*point) && catalog_.MayComeTo(*point);
}

}  // namespace finetune
