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
  call.OnAnswerDo([this](grpc::ServerContextBase& context) {
    const ResumePoint now = catalog_.point();
    context.AddInitialMetadata(kSessionKey,
                               absl::StrCat(now.revision, ".", EncodeResumeToken(now)));
  });
  if (token->empty()) return std::move(answer)();
  const auto point = PointOf(*token);
  if (!point.ok()) return call.Fail(point.status());
  auto enter = [this, point = *point, &call, answer = std::move(answer)]() mutable {
    if (!catalog_.HasPoint(point)) call.context().AddInitialMetadata(kSessionLostKey, "1");
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

bool Sessions::MayBeAhead(const grpc::ServerContextBase& context) const {
  const auto token = MetadataOf(context, kSessionKey);
  if (!token || token->empty()) return false;
  const auto point = PointOf(*token);
  return point.ok() && !catalog_.HasPoint(*point) && catalog_.MayComeTo(*point);
}

}  // namespace finetune
