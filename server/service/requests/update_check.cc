#include "server/service/requests/update_check.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/service/requests/field_rules.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

std::string LabelField(absl::string_view key) { return absl::StrCat("fine_tune.labels.", key); }

void CheckLabel(const std::string& key, const std::string& value, Violations& violations) {
  if (auto wrong = WrongWithLabelKey(key); !wrong.empty()) violations.Add(LabelField(key), wrong);
  if (auto wrong = WrongWithLabelValue(value); !wrong.empty())
    violations.Add(LabelField(key), wrong);
}

void TakeVisibility(const pb::FineTune& job, UpdateCall& call, Violations& violations) {
  if (job.visibility() != pb::FineTune::PRIVATE && job.visibility() != pb::FineTune::PUBLIC)
    violations.Add("fine_tune.visibility", "must be PRIVATE or PUBLIC");
  call.visibility = job.visibility();
}

void TakeLabels(const pb::FineTune& job, UpdateCall& call, Violations& violations) {
  if (static_cast<size_t>(job.labels_size()) > kMaxLabels)
    violations.Add("fine_tune.labels", absl::StrCat("at most ", kMaxLabels, " labels"));
  call.labels.emplace();
  for (const auto& [key, value] : job.labels()) {
    CheckLabel(key, value, violations);
    call.labels->emplace(key, value);
  }
}

void TakeLabel(absl::string_view path_key, const pb::FineTune& job, UpdateCall& call,
               Violations& violations) {
  if (path_key.size() >= 2 && path_key.front() == '`' && path_key.back() == '`')
    path_key = path_key.substr(1, path_key.size() - 2);
  const std::string key(path_key);
  const auto given = job.labels().find(key);
  const bool set = given != job.labels().end();
  CheckLabel(key, set ? given->second : "", violations);
  call.label_changes.emplace_back(key, set ? std::optional(given->second) : std::nullopt);
}

void TakePath(absl::string_view path, const pb::FineTune& job, UpdateCall& call,
              Violations& violations) {
  if (path == "visibility") {
    TakeVisibility(job, call, violations);
  } else if (path == "labels") {
    TakeLabels(job, call, violations);
  } else if (absl::ConsumePrefix(&path, "labels.")) {
    TakeLabel(path, job, call, violations);
  } else {
    violations.Add("update_mask", absl::StrCat("'", path,
                                               "' cannot be updated; only visibility, labels and "
                                               "labels.KEY can"));
  }
}

// Notes the labels that the request carries though no path names them. The updater checks whether
// they equal the job's.
void FindUnnamedLabels(const pb::FineTune& job, UpdateCall& call) {
  if (call.labels) return;
  call.unnamed_labels = {job.labels().begin(), job.labels().end()};
  for (const auto& [key, value] : call.label_changes) call.unnamed_labels.erase(key);
}

}  // namespace

absl::StatusOr<UpdateCall> CheckUpdate(const pb::UpdateFineTuneRequest& request) {
  const pb::FineTune& job = request.fine_tune();
  UpdateCall call;
  Violations violations;
  if (auto id = IdOf(job.name()))
    call.id = *std::move(id);
  else
    violations.Add("fine_tune.name", "must be fineTunes/{fine_tune_id}");
  call.etag = job.etag();
  for (const std::string& path : request.update_mask().paths())
    TakePath(path, job, call, violations);
  if (request.update_mask().paths().empty()) {
    if (job.visibility() != pb::FineTune::VISIBILITY_UNSPECIFIED)
      TakeVisibility(job, call, violations);
    if (job.labels_size() > 0) TakeLabels(job, call, violations);
    if (!call.visibility && !call.labels) violations.Add("update_mask", "names nothing to update");
  }
  FindUnnamedLabels(job, call);
  if (call.labels && !call.label_changes.empty())
    violations.Add("update_mask", "names both labels and single labels");
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

}  // namespace finetune
