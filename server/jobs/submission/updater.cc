#include "server/jobs/submission/updater.h"

#include <algorithm>
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

absl::Status WrongMask(const std::string& description) {
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
               absl::StrCat("update_mask: ", description))
      .Field("update_mask", description);
}

absl::Status Overloaded(const std::string& id) {
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::OVERLOADED,
               absl::StrCat("'", NameOf(id), "' has ", Updater::kMaxPerJob,
                            " updates waiting, as many as a job may have"))
      .RetryAfter(absl::Seconds(1));
}

absl::Status Cancelled() { return absl::CancelledError("nobody waits for the update any more"); }

// JSON clients turn a mask's `labels.costCenter` into `labels.cost_center`, and with a misspelt key
// another label would be removed. So a label to be removed must exist, and a label that is carried
// must be named in the mask or equal the job's.
absl::Status CheckLabels(const UpdateCall& call, const pb::FineTune& fine_tune) {
  for (const auto& [key, value] : call.label_changes) {
    if (value || fine_tune.labels().contains(key)) continue;
    return WrongMask(absl::StrCat("labels.", key,
                                  " is not in the request, and the job has no such label that "
                                  "could be removed"));
  }
  for (const auto& [key, value] : call.unnamed_labels) {
    const auto label = fine_tune.labels().find(key);
    if (label != fine_tune.labels().end() && label->second == value) continue;
    return WrongMask(absl::StrCat("does not name labels.", key, ", which the request carries"));
  }
  return absl::OkStatus();
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

// Labels by which money was counted stay as they were.
absl::Status CheckGuardedLabels(const UpdateCall& call, const pb::FineTune& fine_tune) {
  if (call.spender == nullptr || call.spender->rules->guarded_labels.empty())
    return absl::OkStatus();
  pb::FineTune changed;
  *changed.mutable_labels() = fine_tune.labels();
  ChangeLabels(call, changed);
  for (const std::string& key : call.spender->rules->guarded_labels) {
    const auto before = fine_tune.labels().find(key);
    const auto after = changed.labels().find(key);
    const bool had = before != fine_tune.labels().end();
    const bool has = after != changed.labels().end();
    if (had == has && (!had || before->second == after->second)) continue;
    return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
                 absl::StrCat("fine_tune.labels.", key,
                              ": spending is counted by it, so it stays as the job was submitted"))
        .Field(absl::StrCat("fine_tune.labels.", key), "spending is counted by it");
  }
  return absl::OkStatus();
}

// Whether the update may be made to the job as it is now.
absl::Status CheckFits(const UpdateCall& call, const pb::FineTune& fine_tune) {
  if (!call.etag.empty() && call.etag != fine_tune.etag()) return EtagMismatch(call.id);
  if (absl::Status labels = CheckLabels(call, fine_tune); !labels.ok()) return labels;
  return CheckGuardedLabels(call, fine_tune);
}

}  // namespace

// A job's updates run one after another in the order in which they came, each in steps that call
// back on any thread, perhaps before the call that began them returns. A class of its own because
// callbacks of Segmind and of the recorder may come when the Updater is gone: they hold it.
class Updater::Core : public std::enable_shared_from_this<Core> {
 public:
  using UpdateDone = absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&>;

  struct Update {
    UpdateCall call;
    UpdateDone done;
    bool changed_at_segmind = false;
    bool is_up_to_date = false;  // What others committed was asked for.
    uint64_t read = 0;           // Reads up to this one may show what was before the change.
    // An error that the mutation met after it had already had something to write.
    absl::Status late_error;
  };
  using UpdatePtr = std::shared_ptr<Update>;

  Core(SegmindClient& segmind, Recorder& recorder, Catalog& catalog)
      : segmind_(segmind), recorder_(recorder), catalog_(catalog) {}

  void Add(const UpdatePtr& update) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends an update that waits for its turn, as cancelled.
  void Drop(const UpdatePtr& update) ABSL_LOCKS_EXCLUDED(mu_);

  void WaitUntilIdle() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (!queues_.empty()) idle_.Wait(mu_);
  }

 private:
  struct Queue {
    std::deque<UpdatePtr> updates;
    bool under_way = false;  // The first one.
    bool driven = false;     // Somebody is in Drive.
  };

  // Starts the job's updates one after another until one stays under way or none is left. It is a
  // loop because an update that ends at once must not start the next one from within: 10,000 of
  // them would be as many frames on the stack.
  void Drive(const std::string& id) ABSL_LOCKS_EXCLUDED(mu_);
  void Start(const UpdatePtr& update);
  void RecordIt(const UpdatePtr& update);
  void End(const UpdatePtr& update, absl::StatusOr<VersionPtr> result) ABSL_LOCKS_EXCLUDED(mu_);

  SegmindClient& segmind_;
  Recorder& recorder_;
  Catalog& catalog_;

  Mutex mu_;
  CondVar idle_;
  // By job; none is empty when the lock is free.
  std::map<std::string, Queue> queues_ ABSL_GUARDED_BY(mu_);
};

void Updater::Core::Add(const UpdatePtr& update) {
  const std::string id = update->call.id;
  bool full = false;
  {
    MutexLock lock(mu_);
    Queue& queue = queues_[id];
    full = queue.updates.size() >= kMaxPerJob;
    if (!full) {
      queue.updates.push_back(update);
      if (queue.under_way || queue.driven) return;
      queue.driven = true;
    }
  }
  if (full) return std::move(update->done)(Overloaded(id));
  Drive(id);
}

void Updater::Core::Drop(const UpdatePtr& update) {
  {
    MutexLock lock(mu_);
    const auto found = queues_.find(update->call.id);
    if (found == queues_.end()) return;
    auto& updates = found->second.updates;
    const auto place =
        std::find(updates.begin() + (found->second.under_way ? 1 : 0), updates.end(), update);
    if (place == updates.end()) return;
    // Somebody drives the queue, or an update is under way whose end will.
    updates.erase(place);
  }
  std::move(update->done)(Cancelled());
}

void Updater::Core::Drive(const std::string& id) {
  while (true) {
    UpdatePtr next;
    {
      MutexLock lock(mu_);
      auto it = queues_.find(id);
      Queue& queue = it->second;
      if (queue.under_way || queue.updates.empty()) {
        queue.driven = false;
        if (queue.updates.empty()) queues_.erase(it);
        if (queues_.empty()) idle_.NotifyAll();
        return;
      }
      queue.under_way = true;
      next = queue.updates.front();
    }
    Start(next);
  }
}

void Updater::Core::Start(const UpdatePtr& update) {
  const UpdateCall& call = update->call;
  if (call.cancellation != nullptr && call.cancellation->cancelled())
    return End(update, Cancelled());
  const VersionPtr version = catalog_.Find(call.id);
  absl::Status fits =
      version == nullptr ? NoSuchJob(call.id) : CheckFits(call, ToRecord(*version).fine_tune());
  if (!fits.ok()) {
    // Another process may have changed the job, so what is in memory may be old.
    if (!recorder_.is_shared() || std::exchange(update->is_up_to_date, true))
      return End(update, std::move(fits));
    return recorder_.CatchUp([self = shared_from_this(), update](absl::Status status) {
      if (!status.ok()) return self->End(update, std::move(status));
      self->Start(update);
    });
  }
  if (!call.visibility) return RecordIt(update);
  if (version->upstream_id.empty()) {
    return End(update, Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::INVALID_FIELD,
                             "Segmind's id of the job is not known yet, so its visibility cannot "
                             "be changed")
                           .Field("fine_tune.visibility", "Segmind's id is not known yet"));
  }
  segmind_.SetPublic(version->upstream_id, *call.visibility == pb::FineTune::PUBLIC,
                     {call.deadline, call.trace, call.sharer, call.cancellation},
                     [self = shared_from_this(), update](absl::Status status) {
                       if (!status.ok()) return self->End(update, std::move(status));
                       update->changed_at_segmind = true;
                       update->read = self->catalog_.numbers().NotBeforeNow();
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
        if (absl::Status fits = CheckFits(call, fine_tune); fits.ok()) {
          ChangeLabels(call, fine_tune);
        } else {
          if (!update->changed_at_segmind) return fits;
          update->late_error = std::move(fits);
        }
        if (update->changed_at_segmind) {
          fine_tune.set_visibility(*call.visibility);
          // A list that began earlier would undo the change.
          record->set_read(std::max(record->read(), update->read));
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
  const std::string& id = update->call.id;
  {
    MutexLock lock(mu_);
    Queue& queue = queues_.at(id);
    queue.updates.pop_front();
    queue.under_way = false;
    if (queue.driven) return;
    queue.driven = true;
  }
  Drive(id);
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
  const auto cancellation = update->call.cancellation;
  core_->Add(update);
  if (cancellation == nullptr) return;
  cancellation->OnCancelDo([core = std::weak_ptr(core_), update = std::weak_ptr(update)] {
    const auto waits = update.lock();
    if (const auto here = core.lock(); here && waits) here->Drop(waits);
  });
}

}  // namespace finetune
