#include "server/service/visible_job.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/utf8.h"
#include "server/service/requests/violations.h"

namespace finetune {

absl::StatusOr<VersionPtr> FindVisible(const Catalog& catalog, const std::string& name,
                                       const std::string& field, const Caller& caller) {
  const auto id = IdOf(name);
  if (!id) return InvalidField(field, "must be fineTunes/{fine_tune_id}");
  VersionPtr version = catalog.Find(*id);
  if (version != nullptr && (caller.sees_all || version->creator == caller.identity))
    return version;
  return Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
               absl::StrCat("no fine-tune '", ValidUtf8(name, 128), "'"))
      .Resource("segmind.finetune.v1.FineTune", name);
}

void WithVisible(const ServiceParts& parts, const std::string& name, const std::string& field,
                 UnaryCall& call, absl::AnyInvocable<void(const VersionPtr& version) &&> found) {
  auto version = FindVisible(parts.catalog, name, field, call.caller());
  if (version.ok()) return std::move(found)(*version);
  if (!absl::IsNotFound(version.status()) || !parts.recorder.is_shared())
    return call.Fail(version.status());
  parts.recorder.CatchUp([&catalog = parts.catalog, name, field, &call,
                          found = std::move(found)](absl::Status status) mutable {
    call.Later([&catalog, name = std::move(name), field = std::move(field), &call,
                found = std::move(found), status = std::move(status)]() mutable {
      if (!status.ok()) return call.Fail(status);
      auto version = FindVisible(catalog, name, field, call.caller());
      if (!version.ok()) return call.Fail(version.status());
      std::move(found)(*version);
    });
  });
}

}  // namespace finetune
