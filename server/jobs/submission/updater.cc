#include "server/jobs/submission/updater.h"

#include <deque>
#include <map>
#include <utility>

#include "server/base/mutex.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

absl::Status NoSuchJob(const std::string& id) {
  return Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
               absl::StrCat("no fine-tune '", NameOf(id), "'"))
      .Resource("segmind.finetune.v1.FineTune", NameOf(id));
}

absl::Status EtagMismatch(const std::string& id) {
  return Error(absl::StatusCode::kAborted, pb::ErrorReason::ETAG_MISMATCH,
               absl::StrCat("'", NameOf(id), "' has changed since: read it again"))
      .Resource("segmind.finetune.v1.FineTune", NameOf(id));
}

bool Fits(const UpdateCall& call, const pb::FineTune& fine_tune) {
  return call.etag.empty() || call.etag == fine_tune.etag();
}

void ChangeLabels(const UpdateCall& call, pb::FineTune& fine_tune) {
  auto& labels = *fine_tune.mutable_labels();
  if (call.labels) {
    labels.clear();
    for (const auto& [key, value] : *call.labels) labels[key] = value;
  }
  for (const auto& [key, value] : call.label_changes) {
    if (value) {
      labels[key] = *value;
    } else {
      labels.erase(key);
    }
  }
}

}  // namespace

// All of it. Each step of an update starts the next; the last one starts the job's next update.
class Updater::Core : public std::enable_shared_from_this<Core> {
 public:
  using UpdateDone = absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&>;

  struct Update {
    UpdateCall call;
    UpdateDone done;
    bool changed_at_segmind = false;
    // What the mutation found out after it had something to write all the same.
    absl::Status late_error;
  };
  using UpdatePtr = std::shared_ptr<Update>;

  Core(SegmindClient& segmind, Recorder& recorder, Catalog& catalog)
      : segmind_(segmind), recorder_(recorder), catalog_(catalog) {}

  void Add(UpdatePtr update) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      MutexLock lock(mu_);
      auto& queue = queues_[update->call.id];
      queue.push_back(update);
      if (queue.size() > 1) return;
    }
    Start(update);
  }

  void WaitUntilIdle() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (!queues_.empty()) idle_.Wait(mu_);
  }

 private:
  void Start(const UpdatePtr& update);
  void RecordIt(const UpdatePtr& update);
  void End(const UpdatePtr& update, absl::StatusOr<VersionPtr> result) ABSL_LOCKS_EXCLUDED(mu_);

  SegmindClient& segmind_;
  Recorder& recorder_;
  Catalog& catalog_;

  Mutex mu_;
  CondVar idle_;
  // By job; the first of each is under way.
  std::map<std::string, std::deque<UpdatePtr>> queues_ ABSL_GUARDED_BY(mu_);
};

void Updater::Core::Start(const UpdatePtr& update) {
  const UpdateCall& call = update->call;
  const VersionPtr version = catalog_.Find(call.id);
  if (version == nullptr) return End(update, NoSuchJob(call.id));
  if (!Fits(call, ToRecord(*version).fine_tune())) return End(update, EtagMismatch(call.id));
  if (!call.visibility) return RecordIt(update);
  if (version->upstream_id.empty()) {
    return End(update, Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::INVALID_FIELD,
                             "Segmind's id of the job is not known yet, so its visibility cannot "
                             "be changed")
                           .Field("fine_tune.visibility", "Segmind's id is not known yet"));
  }
  segmind_.SetPublic(version->upstream_id, *call.visibility == pb::FineTune::PUBLIC,
                     {call.deadline, call.trace},
                     [self = shared_from_this(), update](absl::Status status) {
                       if (!status.ok()) return self->End(update, std::move(status));
                       update->changed_at_segmind = true;
                       self->RecordIt(update);
                     });
}

void Updater::Core::RecordIt(const UpdatePtr& update) {
  recorder_.Record(
      [update](Draft& draft) -> absl::Status {
        const UpdateCall& call = update->call;
        update->late_error = absl::OkStatus();
        auto record = draft.Find(call.id);
        if (!record) return NoSuchJob(call.id);
        pb::FineTune& fine_tune = *record->mutable_fine_tune();
        if (!Fits(call, fine_tune)) {
          if (!update->changed_at_segmind) return EtagMismatch(call.id);
          update->late_error = EtagMismatch(call.id);
        } else {
          ChangeLabels(call, fine_tune);
        }
        if (update->changed_at_segmind) {
          fine_tune.set_visibility(*call.visibility);
          // A list that began before this would turn it back.
          if (FromProto(record->read_time()) < draft.now()) {
            *record->mutable_read_time() = ToProto(draft.now());
          }
        }
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [self = shared_from_this(), update](absl::Status status) {
        if (status.ok()) status = update->late_error;
        if (!status.ok()) return self->End(update, std::move(status));
        self->End(update, self->catalog_.Find(update->call.id));
      },
      update->call.trace);
}

void Updater::Core::End(const UpdatePtr& update, absl::StatusOr<VersionPtr> result) {
  std::move(update->done)(std::move(result));
  UpdatePtr next;
  {
    MutexLock lock(mu_);
    auto queue = queues_.find(update->call.id);
    queue->second.pop_front();
    if (!queue->second.empty()) {
      next = queue->second.front();
    } else {
      queues_.erase(queue);
      if (queues_.empty()) idle_.NotifyAll();
    }
  }
  if (next != nullptr) Start(next);
}

Updater::Updater(SegmindClient& segmind, Recorder& recorder, Catalog& catalog)
    : core_(std::make_shared<Core>(segmind, recorder, catalog)) {}

// Waits for updates under way: they end at their deadlines, or when the transport or the recorder
// stops.
Updater::~Updater() { core_->WaitUntilIdle(); }

void Updater::Update(UpdateCall call,
                     absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&> done) {
  auto update = std::make_shared<Core::Update>();
  update->call = std::move(call);
  update->done = std::move(done);
  core_->Add(std::move(update));
}

}  // namespace finetune
