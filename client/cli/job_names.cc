#include "client/cli/job_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/exit_code.h"
#include "client/cli/text.h"
#include "client/cli/values.h"
#include "server/base/uuid.h"

namespace finetune::cli {
namespace {

constexpr size_t kMostNamed = 4;

// Jobs that have something in common, as an error lists them.
std::string Some(const std::vector<pb::FineTune>& jobs) {
  std::vector<std::string> shown;
  for (const pb::FineTune& job : jobs) {
    if (shown.size() == kMostNamed) {
      shown.emplace_back("...");
      break;
    }
    shown.push_back(absl::StrCat(ShortName(job.name()), " (", Printable(job.display_name()), ", ",
                                 StateName(job.state()), ")"));
  }
  return absl::StrJoin(shown, ", ");
}

absl::Status Ambiguous(const std::string& text, const std::vector<pb::FineTune>& jobs) {
  absl::Status status = absl::InvalidArgumentError(
      absl::StrCat("`", text, "` may mean ", jobs.size(), " jobs: ", Some(jobs)));
  status.SetPayload(kAdvice, absl::Cord("Give the id of the one that you mean."));
  return status;
}

}  // namespace

absl::StatusOr<std::string> ResolveJob(FineTuneClient& client, const std::string& text) {
  const std::string name = FullName(text);
  if (name == text || IsUuid(text)) return name;
  if (text.empty()) return absl::InvalidArgumentError("the job's name is empty");
  auto job = client.Get(name);
  if (job.ok()) return name;
  if (!absl::IsNotFound(job.status()) && !absl::IsInvalidArgument(job.status()))
    return job.status();
  std::vector<pb::FineTune> named, beginning;
  for (const absl::StatusOr<pb::FineTune>& listed : client.List()) {
    if (!listed.ok()) return listed.status();
    if (listed->display_name() == text) named.push_back(*listed);
    if (absl::StartsWith(ShortName(listed->name()), text)) beginning.push_back(*listed);
  }
  for (const auto* found : {&named, &beginning}) {
    if (found->size() == 1) return found->front().name();
    if (found->size() > 1) return Ambiguous(text, *found);
  }
  absl::Status status =
      absl::NotFoundError(absl::StrCat("no job is called `", text, "`, and no id begins so"));
  status.SetPayload(kAdvice, absl::Cord("`finetune list` shows the jobs that exist."));
  return status;
}

}  // namespace finetune::cli
