// upload and download: files, through the gateway where it moves them, else straight to and from
// Segmind's storage.
#include "client/cli/transfer_commands.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <filesystem>
#include <ostream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/http_transfer.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_names.h"
#include "client/cli/job_text.h"
#include "client/cli/progress.h"
#include "client/cli/values.h"
#include "client/cpp/states.h"
#include "client/cpp/transfer.h"
#include "client/cpp/weights_check.h"
#include "server/base/utf8.h"

namespace finetune::cli {
namespace {

struct UploadFlags {
  std::string file;
  bool is_public = false;
  bool force = false;
};

struct DownloadFlags {
  std::string name;
  std::string path;
  bool any_content = false;
};

// `[####------]`
std::string Bar(int64_t done, int64_t total) {
  constexpr int kWidth = 10;
  const auto full = static_cast<size_t>(kWidth * std::min(done, total) / total);
  return absl::StrCat("[", std::string(full, '#'), std::string(kWidth - full, '-'), "]");
}

// How far a transfer is, its rate and the time left, in the progress line.
OnProgress ShowIn(Progress& progress, const std::string& what) {
  struct Begin {
    absl::Time time;
    int64_t done;
  };
  auto begin = std::make_shared<std::optional<Begin>>();
  return [&progress, what, begin](int64_t done, int64_t total) {
    const absl::Time now = absl::Now();
    // The transfer may have begun again.
    if (!*begin || done < (*begin)->done) *begin = Begin{now, done};
    const double seconds = absl::ToDoubleSeconds(now - (*begin)->time);
    const double rate = seconds > 0 ? (done - (*begin)->done) / seconds : 0;
    std::string text = absl::StrCat(what, " ");
    if (total > 0) {
      absl::StrAppendFormat(&text, "%d%% %s %s of %s", 100 * done / total, Bar(done, total),
                            Bytes(done), Bytes(total));
    } else {
      absl::StrAppend(&text, Bytes(done));
    }
    if (rate > 0) absl::StrAppend(&text, ", ", Bytes(rate), "/s");
    if (rate > 0 && total > done) {
      absl::StrAppend(&text, ", ", ShortDuration(absl::Seconds((total - done) / rate)), " left");
    }
    progress.Report(std::move(text));
  };
}

absl::StatusOr<pb::Dataset> UploadDirectly(FineTuneClient& client, const std::string& path,
                                           const UploadOptions& options) {
  auto url = client.CreateUploadUrl(options.file_name, options.public_read);
  if (!url.ok()) return url.status();
  const std::map<std::string, std::string> headers(url->required_headers().begin(),
                                                   url->required_headers().end());
  if (absl::Status status = PutFile(path, url->upload_uri(), headers, options); !status.ok())
    return status;
  pb::Dataset dataset;
  dataset.set_data_source_uri(url->data_source_uri());
  dataset.set_size_bytes(static_cast<int64_t>(std::filesystem::file_size(path)));
  return dataset;
}

int Upload(Session& session, FineTuneClient& client, const UploadFlags& flags) {
  auto data = LookAtData(session, flags.file, flags.force);
  if (!data.ok()) return session.Fail(data.status());
  auto dataset = SendData(session, client, *data, flags.is_public);
  if (!dataset.ok()) return session.Fail(dataset.status());
  if (!session.for_people()) {
    session.Print(*dataset);
    return kSuccess;
  }
  session.out << "data_source_uri  " << Printable(dataset->data_source_uri()) << "\n"
              << "size             " << Bytes(static_cast<double>(dataset->size_bytes())) << "\n";
  if (!dataset->sha256().empty()) {
    session.out << "sha256           " << absl::BytesToHexString(dataset->sha256()) << "\n";
  }
  if (dataset->image_count() > 0)
    session.out << "images           " << dataset->image_count() << "\n";
  return kSuccess;
}

absl::StatusOr<DownloadedWeights> DownloadDirectly(FineTuneClient& client, const std::string& name,
                                                   const std::string& path,
                                                   const DownloadOptions& options) {
  auto job = client.Get(name);
  if (!job.ok()) return job.status();
  if (job->weights_uri().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("there are no weights yet; the job is ", StateName(job->state())));
  }
  return GetFile(job->weights_uri(), path, options);
}

// What the gateway's "not yet" means for a job that has ended.
absl::Status WhyNoWeights(FineTuneClient& client, const std::string& name, absl::Status status) {
  if (ErrorReasonOf(status) != pb::ErrorReason::WEIGHTS_NOT_READY) return status;
  const auto job = client.Get(name);
  if (!job.ok()) return status;
  const std::string state = StateName(job->state());
  if (job->state() == pb::FineTune::AVAILABLE || !IsTerminal(job->state())) {
    status.SetPayload(kAdvice, absl::Cord(absl::StrCat("Wait for them with `finetune wait ",
                                                       ShortName(name), " --until TRAINED`.")));
    return status;
  }
  const std::string note = NoteOf(*job);
  absl::Status ended = absl::FailedPreconditionError(absl::StrCat(
      "the job is ", state, note.empty() ? "" : ": ", note, "; it will never have weights"));
  ended.SetPayload(kAdvice, absl::Cord(NextSteps(*job).front()));
  return ended;
}

int TellFailure(Session& session, const absl::Status& status, const std::string& path) {
  const int code = session.Fail(status);
  std::error_code ignored;
  const std::string part = path + ".part";
  if (IsNoWeights(status)) {
    session.err << (std::filesystem::exists(path, ignored) ? Printable(path) + " stays as it was. "
                                                           : "")
                << "With --any-content it is taken as it is.\n";
  } else if (std::filesystem::is_regular_file(part, ignored)) {
    session.err << "What has arrived is kept in " << Printable(part)
                << "; the same command goes on from there.\n";
  }
  return code;
}

int Fetch(Session& session, FineTuneClient& client, const DownloadFlags& flags) {
  const auto name = ResolveJob(client, flags.name);
  if (!name.ok()) return session.Fail(name.status());
  const std::string path =
      flags.path.empty() ? absl::StrCat(ShortName(*name), ".safetensors") : flags.path;
  if (std::filesystem::is_directory(path)) {
    return session.Fail(
        absl::InvalidArgumentError(absl::StrCat(path, " is a directory; name a file")));
  }
  absl::StatusOr<DownloadedWeights> download = absl::UnknownError("");
  {
    const Farewell farewell(absl::StrCat("What has arrived is kept in ", Printable(path),
                                         ".part; the same command goes on from there."));
    Progress progress(session.err, session.terminal, "downloading");
    const DownloadOptions options{.on_progress = ShowIn(progress, "downloading"),
                                  .check_weights = !flags.any_content};
    download = client.Download(*name, path, options);
    if (absl::IsUnimplemented(download.status()))
      download = DownloadDirectly(client, *name, path, options);
  }
  if (!download.ok())
    return TellFailure(session, WhyNoWeights(client, *name, download.status()), path);
  const std::string digest = absl::BytesToHexString(download->sha256);
  if (!session.for_people()) {
    google::protobuf::Struct result;
    auto& fields = *result.mutable_fields();
    fields["path"].set_string_value(ValidUtf8(path));
    fields["sizeBytes"].set_string_value(absl::StrCat(download->size_bytes));
    fields["sha256"].set_string_value(digest);
    session.Print(result);
    return kSuccess;
  }
  session.out << "file    " << Printable(path) << "\n"
              << "size    " << download->size_bytes << " bytes ("
              << Bytes(static_cast<double>(download->size_bytes)) << ")\n"
              << "sha256  " << digest << std::endl;
  if (download->resumed_bytes > 0) {
    session.err << Bytes(static_cast<double>(download->resumed_bytes))
                << " were there from an earlier attempt.\n";
  }
  return kSuccess;
}

}  // namespace

absl::StatusOr<TrainingData> LookAtData(Session& session, const std::string& path, bool force) {
  auto data = LookAtTrainingData(path);
  if (!data.ok()) return data;
  session.err << data->image_count << (data->image_count == 1 ? " image" : " images");
  if (data->caption_count > 0) {
    session.err << ", " << data->caption_count
                << (data->caption_count == 1 ? " text beside them" : " texts beside them");
  }
  session.err << ", " << Bytes(static_cast<double>(data->size_bytes)) << "\n";
  for (const std::string& warning : data->warnings)
    session.err << "warning: " << Printable(warning) << "\n";
  absl::Status faults = FaultsOf(*data);
  if (faults.ok()) return data;
  if (!force) {
    faults.SetPayload(kAdvice,
                      absl::Cord("Nothing was sent. With --force it is sent all the same."));
    return faults;
  }
  session.err << "warning: " << Printable(std::string(faults.message())) << "\n";
  return data;
}

absl::StatusOr<pb::Dataset> SendData(Session& session, FineTuneClient& client,
                                     const TrainingData& data, bool is_public) {
  absl::StatusOr<pb::Dataset> dataset = absl::UnknownError("");
  {
    Progress progress(session.err, session.terminal, "uploading");
    // The checks that --force skips were made before.
    const UploadOptions options{.force = true,
                                .public_read = is_public,
                                .file_name = data.file_name,
                                .on_progress = ShowIn(progress, "uploading")};
    dataset = SendTrainingData(client, data, options);
    if (absl::IsUnimplemented(dataset.status()))
      dataset = UploadDirectly(client, data.path, options);
  }
  if (!dataset.ok()) return dataset;
  for (const std::string& warning : dataset->warnings())
    session.err << "warning: " << Printable(warning) << "\n";
  return dataset;
}

void AddUpload(CLI::App& app, Session& session) {
  auto flags = std::make_shared<UploadFlags>();
  CLI::App* command = app.add_subcommand("upload", "Send a zip, or a folder, of training images");
  command
      ->add_option("file", flags->file,
                   "A zip with images flat at its top level, or a folder of images to zip")
      ->required()
      ->check(CLI::ExistingPath)
      ->type_name("DIR|ZIP");
  command->add_flag("--public", flags->is_public,
                    "Let anyone read the uploaded file; FAST_FLUX needs it");
  command->add_flag("--force", flags->force, "Send it although training with it cannot end well");
  command->footer(
      "Prints the data_source_uri for `finetune create --data`. A transfer that breaks starts "
      "again; "
      "size and digest are\nchecked at the other end.\n"
      "Examples:\n"
      "  finetune upload dogs.zip --public\n"
      "  finetune create --data \"$(finetune upload dogs.zip -o json | jq -r "
      ".dataSourceUri)\" ...");
  command->callback([flags, &session] {
    session.exit_code = WithClient(
        session, [&](FineTuneClient& client) { return Upload(session, client, *flags); });
  });
}

void AddDownload(CLI::App& app, Session& session) {
  auto flags = std::make_shared<DownloadFlags>();
  CLI::App* command = app.add_subcommand("download", "Fetch a job's weights (.safetensors)");
  command->add_option("name", flags->name, kJobHelp)->required();
  command->add_option("file", flags->path, "Where to; ID.safetensors here if not given")
      ->type_name("FILE");
  command->add_flag("--any-content", flags->any_content,
                    "Keep the file even if it is not a .safetensors file");
  command->footer(
      "Resumes a broken download. The file gets its final name only when it is "
      "complete.\n"
      "Examples:\n"
      "  finetune download 0f8b6c1e\n"
      "  finetune download my-dog dog.safetensors");
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Fetch(session, client, *flags); });
  });
}

}  // namespace finetune::cli
