#include "server/jobs/tracking/details_reader.h"

#include <utility>

#include "server/base/log.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/settle.h"

namespace finetune {
namespace {

constexpr absl::Duration kDetailsDeadline = absl::Minutes(1);
// The most submissions whose created_ts are kept to learn how Segmind's clock differs.
constexpr size_t kMaxSubmitted = 100;

// Jobs may share the name by which details were asked for, so they may be another job's.
bool IsAbout(const UpstreamJob& job, const record::FineTuneRecord& record, Draft& draft) {
  if (const auto known = FindRecordOf(draft, job))
    return known->fine_tune().name() == record.fine_tune().name();
  return absl::EqualsIgnoreCase(job.id, record.fine_tune().upstream_id());
}

}  // namespace

DetailsReader::DetailsReader(const ReadingParts& parts, absl::Duration settle_time,
                             std::shared_ptr<Worker> worker, Listener listener)
    : parts_(parts),
      settle_time_(settle_time),
      worker_(std::move(worker)),
      listener_(std::move(listener)) {}

void DetailsReader::AddBackfills() {
  const ViewPtr view = parts_.catalog.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (version.details_known || version.upstream_id.empty() ||
        version.state == pb::FineTune::LOST || (version.active() && !version.request_id.empty())) {
      continue;
    }
    queue_.Add(version.upstream_id, DetailsQueue::kBackfill, {}, version.first_revision);
  }
}

void DetailsReader::Doubt(const std::vector<std::string>& upstream_ids) {
  doubtful_.insert(upstream_ids.begin(), upstream_ids.end());
  for (const std::string& id : doubtful_) queue_.Add(id, DetailsQueue::kConfirm);
}

void DetailsReader::NoteSubmitted(const std::string& upstream_id, absl::Time begin,
                                  absl::Time end) {
  if (!parts_.upstream_clock.wants_created() || submitted_.size() >= kMaxSubmitted) return;
  submitted_[upstream_id] = {begin, end};
  queue_.Add(upstream_id, DetailsQueue::kBackfill, {}, UINT64_MAX);
}

void DetailsReader::Start(absl::Time now) {
  while (auto task = queue_.Take(now)) {
    const std::string name = task->upstream_id;
    Ask(*std::move(task), name);
  }
}

void DetailsReader::Ask(DetailsQueue::Task task, const std::string& name) {
  Read read{.task = std::move(task),
            .name = name,
            .number = parts_.catalog.NextRead(),
            .asked = parts_.clock.Now()};
  const CallContext context(read.asked + kDetailsDeadline, read.task.hint.trace);
  // The answer may come when this object is gone; the worker then drops the task.
  parts_.segmind.GetDetails(
      name, context,
      [this, worker = worker_,
       read = std::move(read)](absl::StatusOr<DetailsAnswer> answer) mutable {
        worker->Post([this, read = std::move(read), answer = std::move(answer)]() mutable {
          OnAnswer(read, std::move(answer));
          listener_.on_step();
        });
      });
}

void DetailsReader::OnAnswer(const Read& read, absl::StatusOr<DetailsAnswer> answer) {
  if (stopped_) return;
  const DetailsQueue::Task& task = read.task;
  if (absl::IsNotFound(answer.status()) && read.name == task.upstream_id) {
    const VersionPtr version = parts_.catalog.FindUpstream(task.upstream_id);
    if (version != nullptr && !version->upstream_request_id.empty() &&
        version->upstream_request_id != read.name) {
      return Ask(task, version->upstream_request_id);
    }
  }
  queue_.Finish(task);
  if (answer.ok())
    OnDetails(read, *std::move(answer));
  else
    OnFailed(read, answer.status());
}

void DetailsReader::OnDetails(const Read& read, DetailsAnswer answer) {
  const DetailsQueue::Task& task = read.task;
  LearnCreated(answer.job);
  parts_.missing.OnFound(task.upstream_id, answer.start_time);
  parts_.candidates.TakeDetails(task.upstream_id, answer.job, read.number,
                                parts_.clock.ToWall(answer.start_time));
  Record(read, std::move(answer));
  if ((task.why & DetailsQueue::kSettle) != 0) listener_.on_search_news();
}

void DetailsReader::OnFailed(const Read& read, const absl::Status& status) {
  const DetailsQueue::Task& task = read.task;
  parts_.candidates.TakeNoDetails(task.upstream_id, absl::IsNotFound(status), parts_.clock.Now());
  if ((task.why & DetailsQueue::kSettle) != 0) listener_.on_search_news();
  if (const VersionPtr version = parts_.catalog.FindUpstream(task.upstream_id))
    parts_.refreshes.FailOf(version->id, read.asked, status);
  if (absl::IsNotFound(status)) return OnUnknownId(read);
  Log(LogLevel::kWarning, "details could not be read",
      {{"trace_id", task.hint.trace.TraceId()},
       {"span_id", task.hint.trace.SpanId()},
       {"upstream_id", task.upstream_id},
       {"error", status.ToString()}});
  // Details that belong to a state are asked for until they are found. The other reasons come again
  // with the next list.
  if ((task.why & DetailsQueue::kPending) != 0)
    queue_.Add(task.upstream_id, DetailsQueue::kBackfill, {}, UINT64_MAX);
  if ((task.why & DetailsQueue::kHint) != 0) parts_.pace.Want(parts_.clock.Now());
}

void DetailsReader::LearnCreated(const UpstreamJob& job) {
  const auto submitted = submitted_.find(job.id);
  if (submitted == submitted_.end()) return;
  if (job.created)
    parts_.upstream_clock.NoteCreated(submitted->second.begin, submitted->second.end, *job.created);
  submitted_.erase(submitted);
  if (!parts_.upstream_clock.wants_created()) submitted_.clear();
}

void DetailsReader::Record(const Read& read, DetailsAnswer answer) {
  const bool hinted = (read.task.why & DetailsQueue::kHint) != 0;
  const bool confirmed = (read.task.why & DetailsQueue::kConfirm) != 0;
  DropDoubt(read.task.upstream_id);
  const absl::Time start = answer.start_time;
  auto shared = std::make_shared<DetailsAnswer>(std::move(answer));
  parts_.recorder.Record(
      [id = read.task.upstream_id, number = read.number,
       ended = parts_.catalog.numbers().NotBeforeNow(), time = parts_.clock.ToWall(start), shared,
       hinted, confirmed](Draft& draft) {
        auto record = draft.FindUpstream(id);
        if (!record || !IsAbout(shared->job, *record, draft)) return absl::OkStatus();
        Join({.job = shared->job,
              .read = number,
              .ended = ended,
              .time = time,
              .source = hinted ? pb::StateTransition::WEBHOOK : pb::StateTransition::POLL,
              .confirmed = confirmed},
             *record);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [this, worker = worker_, read, start](const absl::Status& status) {
        worker->Post([this, read, start, status] {
          OnRecorded(read, start, status);
          listener_.on_step();
        });
      },
      read.task.hint.trace);
}

void DetailsReader::OnRecorded(const Read& read, absl::Time start, const absl::Status& status) {
  const std::string& id = read.task.upstream_id;
  if (!status.ok()) {
    // Both have to be said again: by a list, and by details if a list cannot say it.
    queue_.Add(id, DetailsQueue::kBackfill);
    parts_.pace.Want(parts_.clock.Now());
    return;
  }
  if ((read.task.why & DetailsQueue::kHint) != 0)
    parts_.metrics.ObserveConfirm(parts_.clock.Now() - read.task.hint.time);
  if (const VersionPtr version = parts_.catalog.FindUpstream(id)) {
    parts_.catalog.SetObserveTimeOf(version->id, start);
    if (parts_.missing.Has(id)) listener_.on_observed();
    parts_.refreshes.FinishServed();
  }
}

void DetailsReader::OnUnknownId(const Read& read) {
  const std::string& id = read.task.upstream_id;
  DropDoubt(id);
  const VersionPtr version = parts_.catalog.FindUpstream(id);
  if ((read.task.why & DetailsQueue::kGone) == 0 || version == nullptr) return;
  // Segmind may take a while to show a job that it has accepted. A create_time in the future tells
  // no age.
  const absl::Duration age = parts_.clock.WallNow() - version->create_time;
  const absl::Duration young = age >= settle_time_ ? absl::ZeroDuration() : settle_time_;
  if (parts_.missing.OnUnknown(id, read.asked, young)) RecordLost(read);
}

void DetailsReader::RecordLost(const Read& read) {
  const std::string upstream_id = read.task.upstream_id;
  parts_.recorder.Record(
      [upstream_id, number = read.number, time = parts_.clock.ToWall(read.asked)](Draft& draft) {
        auto record = draft.FindUpstream(upstream_id);
        if (!record || record->read() > number) return absl::OkStatus();
        MoveTo(pb::FineTune::LOST, record->fine_tune().upstream_status(), time,
               pb::StateTransition::POLL, *record);
        record->mutable_fine_tune()->clear_inference_uri();
        record->mutable_fine_tune()->clear_details_pending();
        record->set_read(number);
        *record->mutable_read_time() = ToProto(time);
        *record->mutable_fine_tune()->mutable_observe_time() = ToProto(time);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [upstream_id](const absl::Status& status) {
        if (!status.ok()) return;  // The next look at all jobs finds it again.
        Log(LogLevel::kWarning, "Segmind no longer has a job", {{"upstream_id", upstream_id}});
      });
}

}  // namespace finetune
