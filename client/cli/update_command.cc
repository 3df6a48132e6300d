#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"

namespace finetune::cli {
namespace {

struct UpdateFlags {
  std::string name;
  bool make_public = false;
  bool make_private = false;
  std::vector<std::string> labels;
  std::vector<std::string> removed_labels;
  std::string etag;
};

int Update(Session& session, const UpdateFlags& flags) {
  pb::UpdateFineTuneRequest request;
  pb::FineTune& job = *request.mutable_fine_tune();
  job.set_name(FullName(flags.name));
  job.set_etag(flags.etag);
  if (flags.make_public || flags.make_private) {
    job.set_visibility(flags.make_public ? pb::FineTune::PUBLIC : pb::FineTune::PRIVATE);
    request.mutable_update_mask()->add_paths("visibility");
  }
  for (const std::string& text : flags.labels) {
    const auto [key, value] = *ParsePair(text);
    (*job.mutable_labels())[key] = value;
    request.mutable_update_mask()->add_paths(absl::StrCat("labels.", key));
  }
  // A label that is in the mask and not in the job is removed.
  for (const std::string& key : flags.removed_labels) {
    if (job.labels().contains(key)) {
      return session.Fail(absl::InvalidArgumentError(
          absl::StrCat("the label `", key, "` is both set and removed")));
    }
    request.mutable_update_mask()->add_paths(absl::StrCat("labels.", key));
  }
  if (request.update_mask().paths().empty()) {
    return session.Fail(absl::InvalidArgumentError(
        "nothing to update: give --public, --private, --label or --remove-label"));
  }
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  auto updated = (*client)->Update(request);
  if (!updated.ok()) return session.Fail(updated.status());
  PrintJob(session, *updated);
  return kSuccess;
}

}  // namespace

void AddUpdate(CLI::App& app, Session& session) {
  auto flags = std::make_shared<UpdateFlags>();
  CLI::App* command = app.add_subcommand("update", "Change a job's visibility or labels");
  command->add_option("name", flags->name, "The job, with or without fineTunes/")->required();
  CLI::Option* make_public =
      command->add_flag("--public", flags->make_public, "Let others use the model");
  command->add_flag("--private", flags->make_private, "Keep the model to yourself")
      ->excludes(make_public);
  command->add_option("--label", flags->labels, "Set a label; may be repeated")
      ->check(IsPair())
      ->allow_extra_args(false);
  command->add_option("--remove-label", flags->removed_labels, "Remove a label; may be repeated")
      ->type_name("KEY")
      ->allow_extra_args(false);
  command->add_option("--etag", flags->etag,
                      "Only if the job has not changed since it had this etag");
  command->footer(
      "Examples:\n"
      "  finetune update 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b --public\n"
      "  finetune update 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b --label stage=prod --remove-label "
      "draft");
  command->callback([flags, &session] { session.exit_code = Update(session, *flags); });
}

}  // namespace finetune::cli
