#include <google/protobuf/util/json_util.h>

#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/field_rows.h"
#include "client/cli/follow.h"
#include "client/cli/job_text.h"
#include "client/cli/transfer_commands.h"
#include "client/cli/values.h"
#include "server/base/read_file.h"
#include "server/base/uuid.h"

namespace finetune::cli {
namespace {

struct CreateFlags {
  std::string file;
  std::string dataset;
  bool dataset_public = false;
  bool force = false;
  pb::FineTune job;
  int steps = 0;
  double learning_rate = 0;
  bool face_crop = false;
  std::string finetune_type;
  std::vector<std::string> parameters;
  std::vector<std::string> labels;
  bool is_public = false;
  std::string request_id;
  bool validate_only = false;
  std::string wait;
  std::string wait_timeout = "24h";

  // To tell whether the flag was given.
  CLI::Option* steps_option = nullptr;
  CLI::Option* learning_rate_option = nullptr;
  CLI::Option* face_crop_option = nullptr;
  CLI::Option* finetune_type_option = nullptr;
  CLI::Option* wait_option = nullptr;
};

absl::Status ReadJob(const std::string& path, pb::FineTune& job) {
  const auto file = ReadFile(path == "-" ? "/dev/stdin" : path);
  if (!file.ok()) return file.status();
  const auto status = google::protobuf::util::JsonStringToMessage(file->text, &job);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, " is not a FineTune in JSON: ", std::string(status.message())));
}

absl::StatusOr<pb::FineTune> MakeJob(const CreateFlags& flags) {
  pb::FineTune job;
  if (!flags.file.empty()) {
    if (absl::Status status = ReadJob(flags.file, job); !status.ok()) return status;
  }
  // Flags win over the file.
  job.MergeFrom(flags.job);
  pb::TrainingParameters& parameters = *job.mutable_parameters();
  if (*flags.steps_option) parameters.set_steps(flags.steps);
  if (*flags.learning_rate_option) parameters.set_learning_rate(flags.learning_rate);
  if (*flags.face_crop_option) parameters.set_face_crop(flags.face_crop);
  if (*flags.finetune_type_option) parameters.set_finetune_type(flags.finetune_type);
  for (const std::string& text : flags.parameters) {
    const auto [key, value] = *ParsePair(text);
    // A Struct cannot hold all whole numbers.
    if (const auto whole = ParseBigInteger(value)) {
      (*parameters.mutable_integers())[key] = *whole;
    } else {
      (*parameters.mutable_extra()->mutable_fields())[key] = ParseParameter(value);
    }
  }
  for (const std::string& text : flags.labels) {
    const auto [key, value] = *ParsePair(text);
    (*job.mutable_labels())[key] = value;
  }
  if (flags.is_public) job.set_visibility(pb::FineTune::PUBLIC);
  return job;
}

// Warns of what is hardly meant.
void WarnOfPrompt(Session& session, const pb::FineTune& job) {
  if (job.trigger_word().empty() || job.instance_prompt().empty() ||
      absl::StrContains(job.instance_prompt(), job.trigger_word()))
    return;
  session.err << "warning: the trigger word `" << Printable(job.trigger_word())
              << "` is not in the prompt `" << Printable(job.instance_prompt())
              << "`: what is learned will hardly be tied to it\n";
}

// A job under way to Segmind: what was asked for, and how far it has come.
class Creation {
 public:
  Creation(Session& session, FineTuneClient& client, const CreateFlags& flags, pb::FineTune job)
      : session_(session), client_(client), flags_(flags), job_(std::move(job)) {}

  int Run() {
    WarnOfPrompt(session_, job_);
    if (!flags_.dataset.empty()) {
      // Everything that can be checked is checked before a byte is sent.
      auto data = LookAtData(session_, flags_.dataset, flags_.force);
      if (!data.ok()) return session_.Fail(data.status());
      if (absl::Status status = Check().status(); !status.ok()) return session_.Fail(status);
      if (flags_.validate_only) return TellValid();
      if (absl::Status status = Send(*data); !status.ok()) return session_.Fail(status);
    } else if (flags_.validate_only) {
      auto checked = Check();
      if (!checked.ok()) return session_.Fail(checked.status());
      job_ = *std::move(checked);
      return TellValid();
    }
    return Submit();
  }

 private:
  absl::StatusOr<pb::FineTune> Check() {
    Progress progress(session_.err, session_.terminal, "checking");
    auto checked = client_.Validate(job_);
    if (checked.ok() || flags_.dataset.empty()) return checked;
    // An older gateway complains that there is no address, which the upload will give.
    const Error error = ErrorOf(checked.status());
    const bool only_that =
        error.violations.size() == 1 && error.violations[0].subject == "fine_tune.data_source_uri";
    return only_that ? absl::StatusOr<pb::FineTune>(job_) : checked;
  }

  int TellValid() {
    if (!flags_.dataset.empty())
      session_.err << "Valid; the data would be uploaded, then the job submitted. Nothing was.\n";
    else
      session_.err << "The job is valid; nothing was submitted.\n";
    if (const auto status = client_.Status(); status.ok()) PrintQuotas(*status, session_.err);
    PrintJob(session_, job_);
    return kSuccess;
  }

  // Sends the dataset, and lets the job train on it.
  absl::Status Send(const TrainingData& data) {
    // Data for FAST_FLUX must be readable by everybody.
    const bool is_public = flags_.dataset_public || job_.base_model() == "FAST_FLUX";
    auto dataset = SendData(session_, client_, data, is_public);
    if (!dataset.ok()) return dataset.status();
    session_.err << "data: " << Printable(dataset->data_source_uri()) << std::endl;
    job_.set_data_source_uri(dataset->data_source_uri());
    return absl::OkStatus();
  }

  int Submit() {
    const std::string request_id = flags_.request_id.empty() ? MakeUuid() : flags_.request_id;
    session_.err << "request_id: " << Printable(request_id) << std::endl;
    absl::StatusOr<Submission> submission = absl::UnknownError("");
    {
      Progress progress(session_.err, session_.terminal, "submitting");
      submission = client_.Submit(job_, {.request_id = request_id});
    }
    if (!submission.ok()) return TellFailure(submission.status(), request_id);
    for (const std::string& warning : submission->budget_warnings)
      session_.err << "warning: " << Printable(warning) << "\n";
    if (submission->unknown()) {
      session_.err
          << "Segmind's answer was lost; the gateway is finding out whether it took the job.\n";
    }
    if (!*flags_.wait_option) {
      PrintJob(session_, submission->fine_tune);
      return kSuccess;
    }
    session_.err << "name: " << Printable(submission->fine_tune.name()) << std::endl;
    return AwaitJob(session_, client_, submission->fine_tune.name(), *ParseState(flags_.wait),
                    {*ParseTimespan(flags_.wait_timeout), "--wait-timeout"});
  }

  int TellFailure(const absl::Status& status, const std::string& request_id) {
    const int code = session_.Fail(status);
    if (code != kUnavailable) return code;
    session_.err << "Run the same command again with --request-id " << Printable(request_id);
    // A second upload would get another address, and the job other parameters.
    if (!flags_.dataset.empty()) {
      session_.err << " and --data " << Printable(job_.data_source_uri())
                   << " instead of --dataset";
    }
    session_.err << ": however often, it makes one job.\n";
    return code;
  }

  Session& session_;
  FineTuneClient& client_;
  const CreateFlags& flags_;
  pb::FineTune job_;
};

int Create(Session& session, const CreateFlags& flags) {
  auto job = MakeJob(flags);
  if (!job.ok()) return session.Fail(job.status());
  return WithClient(session, [&](FineTuneClient& client) {
    return Creation(session, client, flags, *std::move(job)).Run();
  });
}

void AddJobOptions(CLI::App& command, CreateFlags& flags) {
  for (const FieldRow& row : FieldRows()) {
    if (row.flag == nullptr) continue;
    command.add_option_function<std::string>(
        row.flag, [&flags, &row](const std::string& text) { SetText(text, row, flags.job); },
        row.help);
  }
  flags.steps_option = command.add_option("--steps", flags.steps, "Training steps");
  flags.learning_rate_option =
      command.add_option("--learning-rate", flags.learning_rate, "Learning rate");
  flags.face_crop_option = command.add_flag("--face-crop,!--no-face-crop", flags.face_crop,
                                            "Crop the images to faces, or not");
  flags.finetune_type_option =
      command.add_option("--finetune-type", flags.finetune_type, "LORA or FULL");
  command
      .add_option("--param", flags.parameters,
                  "Another parameter, by Segmind's name; may be repeated")
      ->check(IsPair())
      ->allow_extra_args(false);
  command
      .add_option("-l,--label", flags.labels, "Kept by the gateway, for filters; may be repeated")
      ->check(IsPair())
      ->allow_extra_args(false);
  command.add_flag("--public", flags.is_public, "Let others use the model");
}

}  // namespace

void AddCreate(CLI::App& app, Session& session) {
  auto flags = std::make_shared<CreateFlags>();
  CLI::App* command = app.add_subcommand("create", "Submit a fine-tuning job, once");
  AddJobOptions(*command, *flags);
  command->add_option("--file", flags->file,
                      "A FineTune in JSON to start from; - reads standard input");
  command->add_option("--request-id", flags->request_id,
                      "A UUID: however often a job is sent with it, it is submitted once. Made and "
                      "printed if not given");
  command->add_flag("--validate-only", flags->validate_only,
                    "Check everything, send nothing, and print what would be");
  CLI::Option* dataset =
      command
          ->add_option("--dataset", flags->dataset,
                       "A zip, or a folder of images to zip: upload it and train on it")
          ->type_name("DIR|ZIP")
          ->check(CLI::ExistingPath)
          ->excludes(command->get_option("--data"));
  command->add_flag("--force", flags->force, "Send a dataset although training cannot end well")
      ->needs(dataset);
  command
      ->add_flag("--dataset-public", flags->dataset_public,
                 "Let anyone read it; always so for FAST_FLUX")
      ->needs(dataset);
  flags->wait_option =
      command->add_option("--wait", flags->wait, "Wait for a state; AVAILABLE if none is named")
          ->expected(0, 1)
          ->default_str("AVAILABLE")
          ->check(IsState())
          ->type_name("[=STATE]");
  command
      ->add_option("--wait-timeout", flags->wait_timeout,
                   "How long to wait at most; 24h if not given")
      ->check(IsTimespan());
  command->footer(
      "Examples:\n"
      "  finetune create --name my-dog --base-model FAST_FLUX --theme subject --data "
      "https://.../dogs.zip \\\n"
      "      --prompt 'a photo of TOK dog' --trigger TOK --steps 1000 --label team=art --wait\n"
      "  finetune create --file job.json --param lora_rank=16 --param auto_caption=true -o json\n"
      "  finetune create --file job.json --dataset ./dogs --wait\n"
      "  finetune create --file job.json --validate-only");
  command->callback([flags, &session] { session.exit_code = Create(session, *flags); });
}

}  // namespace finetune::cli
