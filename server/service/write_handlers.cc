#include "server/service/write_handlers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/base/uuid.h"
#include "server/segmind/job_signatures.h"
#include "server/service/requests/create_check.h"
#include "server/service/requests/dataset_url.h"
#include "server/service/requests/field_rules.h"
#include "server/service/requests/update_check.h"
#include "server/service/requests/violations.h"
#include "server/service/visible_job.h"

namespace finetune {
namespace {

void Answer(absl::StatusOr<VersionPtr> version, UnaryCall& call) {
  if (!version.ok()) return call.Fail(version.status());
  call.SetFineTune(NameOf((*version)->id));
  call.ReplyBytes(grpc::ByteBuffer(&(*version)->full, 1));
}

// The most budgets' warnings in one answer's metadata.
constexpr size_t kMaxWarnings = 8;
constexpr char kBudgetWarning[] = "finetune-budget-warning";

}  // namespace

void WriteHandlers::Create(pb::CreateFineTuneRequest request, UnaryCall& call) {
  auto checked = CheckCreate(request);
  if (!checked.ok()) return call.Fail(checked.status());
  if (request.validate_only()) return Validate(*std::move(checked), call);
  CreateCall create{.caller = call.caller().identity,
                    .limits = SpendingLimitsOf(call.caller()),
                    .spender = call.caller().spender,
                    .request_id = request.request_id().empty()
                                      ? MakeUuid()
                                      : absl::AsciiStrToLower(request.request_id()),
                    .fine_tune = *std::move(checked),
                    .deadline = call.deadline(),
                    .trace = call.trace(),
                    .sharer = call.sharer(),
                    .notes = std::make_shared<CreateNotes>()};
  // If too many looks are under way, Segmind's own look has to do.
  if (parts_.looks != nullptr && parts_.look_at_creates && call.Take(Share::kChecks).ok())
    create.look = [looks = parts_.looks, job = create.fine_tune,
                   trace = call.trace()](DatasetLooks::Done done) {
      looks->Start(job, DatasetLooks::Purpose::kCreate, {absl::InfiniteFuture(), trace},
                   std::move(done));
    };
  const auto notes = create.notes;
  parts_.submitter.Create(std::move(create), [&call, notes](absl::StatusOr<VersionPtr> version) {
    for (size_t i = 0; i < std::min(notes->warnings.size(), kMaxWarnings); ++i)
      call.AddTrailingMetadata(kBudgetWarning, notes->warnings[i]);
    Answer(std::move(version), call);
  });
}

void WriteHandlers::Validate(pb::FineTune checked, UnaryCall& call) {
  if (!SpendingLimitsOf(call.caller()).any() && call.caller().spender == nullptr) {
    ShowCharge({}, checked);
    return ValidateDataset(std::move(checked), call);
  }
  parts_.submitter.Foresee({.caller = call.caller().identity,
                            .limits = SpendingLimitsOf(call.caller()),
                            .spender = call.caller().spender,
                            .fine_tune = std::move(checked)},
                           [this, &call](absl::StatusOr<Forecast> forecast) {
                             call.Later([this, forecast = std::move(forecast), &call]() mutable {
                               if (!forecast.ok()) return call.Fail(forecast.status());
                               if (!forecast->refusal.ok()) return call.Fail(forecast->refusal);
                               ValidateDataset(std::move(forecast->job), call);
                             });
                           });
}

void WriteHandlers::ValidateDataset(pb::FineTune checked, UnaryCall& call) {
  // A dataset that has yet to be uploaded has no URL.
  if (parts_.looks == nullptr || checked.data_source_uri().empty()) {
    RemoveSignatures(checked);
    return call.Reply(checked);
  }
  // The look takes a connection, as a transfer does, and a thread while the host's name is
  // resolved.
  for (const Share share : {Share::kChecks, Share::kTransfers})
    if (absl::Status room = call.Take(share); !room.ok()) return call.Fail(room);
  auto job = std::make_shared<const pb::FineTune>(std::move(checked));
  const auto look =
      parts_.looks->Start(*job, DatasetLooks::Purpose::kCheck, {call.answer_by(), call.trace()},
                          [job, &call](absl::Status status) {
                            if (!status.ok()) return call.Fail(status);
                            pb::FineTune shown = *job;
                            RemoveSignatures(shown);
                            call.Reply(shown);
                          });
  if (look != nullptr) call.OnCancelDo([look] { look->Cancel(); });
}

void WriteHandlers::Update(pb::UpdateFineTuneRequest request, UnaryCall& call) {
  auto update = CheckUpdate(request);
  if (!update.ok()) return call.Fail(update.status());
  const std::string name = request.fine_tune().name();
  WithVisible(parts_, name, "fine_tune.name", call,
              [this, update = *std::move(update), request = std::move(request),
               &call](const VersionPtr& version) mutable {
                UpdateFound(std::move(update), request, version, call);
              });
}

void WriteHandlers::UpdateFound(UpdateCall update, const pb::UpdateFineTuneRequest& request,
                                const VersionPtr& version, UnaryCall& call) {
  call.SetFineTune(request.fine_tune().name());
  if (call.caller().role < Role::kAdmin && version->creator != call.caller().identity)
    return call.Fail(Error(absl::StatusCode::kPermissionDenied, pb::ErrorReason::ROLE_NOT_ALLOWED,
                           "your role allows UpdateFineTune only of jobs that you created"));
  auto labels = version->labels;
  for (const auto& [key, value] : update.label_changes) {
    if (value)
      labels[key] = *value;
    else
      labels.erase(key);
  }
  if (labels.size() > kMaxLabels && !update.label_changes.empty())
    return call.Fail(
        InvalidField("fine_tune.labels", absl::StrCat("at most ", kMaxLabels, " labels")));
  update.deadline = call.answer_by();
  update.trace = call.trace();
  update.sharer = call.sharer();
  update.spender = call.caller().spender;
  auto cancellation = std::make_shared<Cancellation>();
  update.cancellation = cancellation;
  call.OnCancelDo([cancellation] { cancellation->Cancel(); });
  parts_.updater.Update(std::move(update), [&call](absl::StatusOr<VersionPtr> updated) {
    Answer(std::move(updated), call);
  });
}

void WriteHandlers::CreateUploadUrl(pb::CreateUploadUrlRequest request, UnaryCall& call) {
  if (auto wrong = WrongWithFileName(request.file_name()); !wrong.empty())
    return call.Fail(InvalidField("file_name", wrong));
  const bool is_public = request.public_read();
  auto cancellation = std::make_shared<Cancellation>();
  call.OnCancelDo([cancellation] { cancellation->Cancel(); });
  parts_.segmind.CreateUploadUrl(request.file_name(), is_public,
                                 {call.answer_by(), call.trace(), call.sharer(), cancellation},
                                 [is_public, &call](absl::StatusOr<UploadUrlAnswer> made) {
                                   if (!made.ok()) return call.Fail(made.status());
                                   pb::UploadUrl url;
                                   url.set_upload_uri(made->presigned_url.Reveal());
                                   url.set_data_source_uri(made->s3_url);
                                   auto& headers = *url.mutable_required_headers();
                                   headers["Content-Type"] = "application/zip";
                                   if (is_public) headers["x-amz-acl"] = "public-read";
                                   call.Reply(url);
                                 });
}

}  // namespace finetune
