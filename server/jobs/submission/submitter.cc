#include "server/jobs/submission/submitter.h"

#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/submission/submitter_core.h"

namespace finetune {
namespace {

absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::SERVER_DRAINING,
               "the gateway is stopping: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

constexpr std::string_view kDied = "the gateway ended while it waited for the answer";

absl::Status NotBegun() {
  return Error(absl::StatusCode::kDeadlineExceeded, pb::ErrorReason::OVERLOADED,
               "the call's time was up before its submission began: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

absl::Status NotRecorded() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               "the submission's outcome could not be recorded in time: send the same request_id "
               "again")
      .RetryAfter(absl::Seconds(1));
}

}  // namespace

Submitter::Core::Core(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                      Tracker& tracker, Clock& clock, Metrics& metrics)
    : options_(options),
      segmind_(segmind),
      recorder_(recorder),
      catalog_(catalog),
      tracker_(tracker),
      clock_(clock),
      accepted_(metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                                {{"outcome", "accepted"}})),
      refused_(metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                               {{"outcome", "refused"}})),
      not_sent_(metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                                {{"outcome", "not_sent"}})),
      unknown_(metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                               {{"outcome", "unknown"}})),
      repeated_(metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                                {{"outcome", "repeated"}})),
      worker_("submitter") {}

bool Submitter::Core::Post(absl::AnyInvocable<void() &&> task) {
  return worker_.Post(std::move(task));
}

bool Submitter::Core::RunOrPost(absl::AnyInvocable<void() &&> task) {
  return worker_.RunOrPost(std::move(task));
}

absl::Status Submitter::Core::Recover() {
  struct Result {
    Mutex mu;
    CondVar changed;
    std::optional<absl::Status> status ABSL_GUARDED_BY(mu);
  };
  auto result = std::make_shared<Result>();
  recorder_.Record(
      [](Draft& draft) {
        for (record::Intent& intent : draft.UnsettledIntents()) {
          if (intent.state() == record::Intent::PREPARED)
            BecomeUnknown(draft, std::move(intent), kDied);
        }
        return absl::OkStatus();
      },
      [result](absl::Status status) {
        MutexLock lock(result->mu);
        result->status = std::move(status);
        result->changed.NotifyAll();
      });
  absl::Status status;
  {
    MutexLock lock(result->mu);
    while (!result->status) result->changed.Wait(result->mu);
    status = *result->status;
  }
  if (status.ok()) tracker_.Wake();
  return status;
}

void Submitter::Core::Create(CreateCall call, CreateDone done) {
  if (draining_) return std::move(done)(Draining());
  if (call.deadline <= clock_.Now()) {
    return std::move(done)(Error(absl::StatusCode::kDeadlineExceeded, pb::ErrorReason::OVERLOADED,
                                 "the deadline passed before anything was done"));
  }
  Key key(call.caller, call.request_id);
  std::string fingerprint = FingerprintOf(call.fine_tune);
  FlightPtr& flight = flights_[key];
  if (flight == nullptr) {
    const absl::Time deadline = call.deadline;
    flight = std::make_shared<Flight>(std::move(key), std::move(fingerprint), std::move(call));
    const FlightPtr made = flight;
    AddWaiter(*made, deadline, std::move(done));
    NoteBusy();
    return Prepare(made);
  }
  if (flight->fingerprint != fingerprint) {
    return std::move(done)(Error(absl::StatusCode::kInvalidArgument,
                                 pb::ErrorReason::REQUEST_ID_REUSED,
                                 "this request_id came before with other parameters")
                               .Field("request_id", "came before with other parameters"));
  }
  repeated_.Increment();
  AddWaiter(*flight, call.deadline, std::move(done));
}

void Submitter::Core::AddWaiter(Flight& flight, absl::Time deadline, CreateDone done) {
  const absl::Time now = clock_.Now();
  const absl::Duration left = deadline - now;
  const absl::Duration margin =
      left == absl::InfiniteDuration()
          ? absl::ZeroDuration()
          : std::min(std::max(absl::Milliseconds(100), left / 20), left / 4);
  const uint64_t id = ++last_waiter_;
  Waiter& waiter = flight.waiters[id];
  waiter.done = std::move(done);
  waiter.answer_by = deadline - margin;
  waiter.start_by = deadline - 2 * margin;
  if (deadline == absl::InfiniteFuture()) return;
  waiter.timer = clock_.RunAt(waiter.answer_by, [weak = weak_from_this(), key = flight.key, id] {
    auto core = weak.lock();
    if (core == nullptr) return;
    core->Post([core = core.get(), key, id] {
      auto found = core->flights_.find(key);
      if (found == core->flights_.end()) return;
      const FlightPtr held = found->second;
      if (held->waiters.contains(id)) core->OnAnswerBy(held, id);
    });
  });
}

void Submitter::Core::OnAnswerBy(const FlightPtr& flight, uint64_t waiter) {
  switch (flight->phase) {
    case Phase::kPreparing:
      return Answer(*flight, waiter, NotBegun());
    case Phase::kPosting:
      return Show(flight, waiter);
    case Phase::kPausing:
      // The next try sees whether anybody still waits for it.
      return Answer(*flight, waiter, flight->outcome.status);
    case Phase::kEnding:
      return Answer(*flight, waiter,
                    flight->outcome.kind == SubmitOutcome::Kind::kRefused ||
                            flight->outcome.kind == SubmitOutcome::Kind::kNotSent
                        ? flight->outcome.status
                        : NotRecorded());
    case Phase::kSettling:
      Answer(*flight, waiter, Find(flight->intent.fine_tune_id()));
      if (flight->waiters.empty()) Forget(flight);
      return;
  }
}

// The caller's time is up while the POST is out: the job is made visible as SUBMIT_UNKNOWN. Its
// intent stays PREPARED, for the answer is still awaited here.
void Submitter::Core::Show(const FlightPtr& flight, uint64_t waiter) {
  recorder_.Record(
      [key = flight->key, id = flight->intent.fine_tune_id()](Draft& draft) {
        auto intent = draft.FindIntent(key.first, key.second);
        if (!intent.ok()) return intent.status();
        const bool awaited = intent->has_value() && (*intent)->fine_tune_id() == id &&
                             (*intent)->state() == record::Intent::PREPARED;
        if (awaited) ShowUnknown(draft, **intent);
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight, waiter](const absl::Status& status) {
        Core* core = self.get();
        core->Post([core, flight, waiter, status] { core->OnShown(flight, waiter, status); });
      },
      flight->trace);
}

void Submitter::Core::OnShown(const FlightPtr& flight, uint64_t waiter,
                              const absl::Status& status) {
  // The outcome may have been recorded, and told, meanwhile.
  if (!flight->waiters.contains(waiter)) return;
  if (!status.ok()) return Answer(*flight, waiter, NotRecorded());
  auto version = Find(flight->intent.fine_tune_id());
  // Without a job the outcome is a refusal, and about to be told.
  if (!version.ok()) return;
  tracker_.Wake();
  Answer(*flight, waiter, std::move(version));
  if (flight->phase == Phase::kSettling && flight->waiters.empty()) Forget(flight);
}

void Submitter::Core::Answer(Flight& flight, uint64_t waiter, absl::StatusOr<VersionPtr> result) {
  auto found = flight.waiters.find(waiter);
  if (found == flight.waiters.end()) return;
  Waiter answered = std::move(found->second);
  flight.waiters.erase(found);
  clock_.Cancel(answered.timer);
  std::move(answered.done)(std::move(result));
}

void Submitter::Core::AnswerAll(Flight& flight, const absl::StatusOr<VersionPtr>& result) {
  while (!flight.waiters.empty()) Answer(flight, flight.waiters.begin()->first, result);
}

void Submitter::Core::OnSettled(const std::string& fine_tune_id) {
  for (auto& [key, flight] : flights_) {
    if (flight->phase != Phase::kSettling || flight->intent.fine_tune_id() != fine_tune_id) {
      continue;
    }
    const FlightPtr settled = flight;
    return Finish(settled, fine_tune_id);
  }
}

void Submitter::Core::Forget(const FlightPtr& flight) {
  auto found = flights_.find(flight->key);
  if (found != flights_.end() && found->second == flight) flights_.erase(found);
  NoteBusy();
}

void Submitter::Core::CountSpending(const std::string& caller,
                                    absl::AnyInvocable<void(absl::StatusOr<Spending>) &&> done) {
  auto spending = std::make_shared<Spending>();
  recorder_.Record(
      [caller, spending](Draft& draft) {
        auto counted = draft.SpendingOf(caller);
        if (counted.ok()) *spending = *counted;
        return counted.status();
      },
      [spending, done = std::move(done)](absl::Status status) mutable {
        if (status.ok())
          std::move(done)(*spending);
        else
          std::move(done)(std::move(status));
      });
}

void Submitter::Core::NoteBusy() {
  const bool busy = std::any_of(flights_.begin(), flights_.end(), [](const auto& entry) {
    return entry.second->phase != Phase::kSettling;
  });
  MutexLock lock(mu_);
  busy_ = busy;
  if (!busy) idle_.NotifyAll();
}

void Submitter::Core::BeginDrain() {
  draining_ = true;
  std::vector<FlightPtr> settling;
  for (auto& [key, flight] : flights_) {
    if (flight->phase == Phase::kSettling) settling.push_back(flight);
  }
  for (const FlightPtr& flight : settling) {
    AnswerAll(*flight, Find(flight->intent.fine_tune_id()));
    Forget(flight);
  }
  NoteBusy();
}

void Submitter::Core::EndDrain() {
  for (auto& [key, flight] : flights_) AnswerAll(*flight, Draining());
  flights_.clear();
}

void Submitter::Core::Drain(absl::Time deadline) {
  Mutex mu;
  bool begun = false;
  CondVar changed;
  const bool posted = Post([&, this] {
    BeginDrain();
    MutexLock lock(mu);
    begun = true;
    changed.NotifyAll();
  });
  if (!posted) return;
  {
    MutexLock lock(mu);
    while (!begun) changed.Wait(mu);
  }
  {
    const absl::Duration wait =
        std::clamp(deadline - clock_.Now(), absl::ZeroDuration(), absl::Hours(1));
    const auto until = absl::ToChronoTime(absl::Now() + wait);
    MutexLock lock(mu_);
    while (busy_ && idle_.WaitUntil(mu_, until)) {
    }
  }
  Post([this] { EndDrain(); });
  worker_.Stop();
}

Submitter::Submitter(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                     Tracker& tracker, Clock& clock, Metrics& metrics)
    : core_(std::make_shared<Core>(options, segmind, recorder, catalog, tracker, clock, metrics)) {
  tracker.OnSettled([weak = std::weak_ptr<Core>(core_)](const std::string& id) {
    auto core = weak.lock();
    if (core == nullptr) return;
    core->Post([core = core.get(), id] { core->OnSettled(id); });
  });
}

Submitter::~Submitter() { Stop(absl::InfinitePast()); }

absl::Status Submitter::Recover() { return core_->Recover(); }

void Submitter::Create(CreateCall call,
                       absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&> done) {
  auto shared = std::make_shared<Core::CreateDone>(std::move(done));
  const bool posted =
      core_->RunOrPost([core = core_.get(), shared, call = std::move(call)]() mutable {
        core->Create(std::move(call), std::move(*shared));
      });
  if (!posted) std::move (*shared)(Draining());
}

void Submitter::CountSpending(const std::string& caller,
                              absl::AnyInvocable<void(absl::StatusOr<Spending>) &&> done) {
  core_->CountSpending(caller, std::move(done));
}

void Submitter::Stop(absl::Time deadline) { core_->Drain(deadline); }

}  // namespace finetune
