#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/access/caller.h"
#include "server/jobs/record/catalog.h"
#include "server/service/calls/unary_call.h"
#include "server/service/service_parts.h"

namespace finetune {

// The job of that name, if the caller may see it. INVALID_ARGUMENT / INVALID_FIELD on `field` for
// a malformed name; NOT_FOUND / FINE_TUNE_NOT_FOUND.
absl::StatusOr<VersionPtr> FindVisible(const Catalog& catalog, const std::string& name,
                                       const std::string& field, const Caller& caller);

// The same for a call, which fails if there is no such job. If other processes write to the record,
// a job that is not known here may be known there: the record is asked once before the call fails.
// `found` runs on a thread of the call's.
void WithVisible(const ServiceParts& parts, const std::string& name, const std::string& field,
                 UnaryCall& call, absl::AnyInvocable<void(const VersionPtr& version) &&> found);

}  // namespace finetune
