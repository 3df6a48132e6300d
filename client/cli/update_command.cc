#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/job_names.h"
#include "client/cli/job_text.h"
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

// INVALID_ARGUMENT if the flags contradict each other or change nothing.
absl::StatusOr<UpdateOptions> OptionsOf(const UpdateFlags& flags) {
  UpdateOptions options;
  options.etag = flags.etag;
  if (flags.make_public) options.visibility = pb::FineTune::PUBLIC;
  if (flags.make_private) options.visibility = pb::FineTune::PRIVATE;
  for (const std::string& text : flags.labels) {
    const auto [key, value] = *ParsePair(text);
    options.labels[key] = value;
  }
  options.remove_labels = flags.removed_labels;
  for (const std::string& key : flags.removed_labels) {
    if (options.labels.count(key) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the label `", key, "` is both set and removed"));
    }
  }
  if (options.visibility == 0 && options.labels.empty() && options.remove_labels.empty()) {
    return absl::InvalidArgumentError(
        "nothing to update: give --public, --private, --label or --remove-label");
  }
  return options;
}

int Update(Session& session, FineTuneClient& client, const UpdateFlags& flags) {
  const auto options = OptionsOf(flags);
  if (!options.ok()) return session.Fail(options.status());
  const auto name = ResolveJob(client, flags.name);
  if (!name.ok()) return session.Fail(name.status());
  const auto updated = client.Update(*name, *options);
  if (!updated.ok()) return session.Fail(updated.status());
  PrintJob(session, *updated);
  return kSuccess;
}

}  // namespace

void AddUpdate(CLI::App& app, Session& session) {
  auto flags = std::make_shared<UpdateFlags>();
  CLI::App* command = app.add_subcommand("update", "Change a job's visibility or labels");
  command->add_option("name", flags->name, kJobHelp)->required();
  CLI::Option* make_public =
      command->add_flag("--public", flags->make_public, "Let others use the model");
  command->add_flag("--private", flags->make_private, "Keep the model to yourself")
      ->excludes(make_public);
  command->add_option("-l,--label", flags->labels, "Set a label; may be repeated")
      ->check(IsPair())
      ->allow_extra_args(false);
  command->add_option("--remove-label", flags->removed_labels, "Remove a label; may be repeated")
      ->type_name("KEY")
      ->allow_extra_args(false);
  command->add_option("--etag", flags->etag,
                      "Only if the job has not changed since it had this etag");
  command->footer(
      "Examples:\n"
      "  finetune update my-dog --public\n"
      "  finetune update 0f8b6c1e --label stage=prod --remove-label draft");
  command->callback([flags, &session] {
    session.exit_code = WithClient(
        session, [&](FineTuneClient& client) { return Update(session, client, *flags); });
  });
}

}  // namespace finetune::cli
