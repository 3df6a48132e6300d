#include "server/jobs/tracking/tracker.h"

#include <utility>

#include "server/base/error.h"

namespace finetune {
namespace {

using UpstreamState = pb::GatewayStatus::UpstreamState;

// The one of two processes' states that callers should know.
UpstreamState Worse(UpstreamState a, UpstreamState b) {
  for (const UpstreamState state : {pb::GatewayStatus::CREDENTIAL_REJECTED,
                                    pb::GatewayStatus::DEGRADED, pb::GatewayStatus::RETIRED})
    if (a == state || b == state) return state;
  return pb::GatewayStatus::HEALTHY;
}

}  // namespace

Tracker::Tracker(const Options& options, const Parts& parts) : options_(options), parts_(parts) {
  if (parts.fleet.is_shared()) {
    followed_ = std::make_unique<FollowedReads>(parts.fleet, parts.catalog, parts.clock,
                                                parts.metrics, list_is_partial_);
    parts.recorder.AddListener(this);
  } else {
    reader_ = MakeReader(nullptr);
  }
}

Tracker::~Tracker() { Stop(); }

std::shared_ptr<SegmindReader> Tracker::MakeReader(std::shared_ptr<const LeaderLease> lease) {
  return std::make_shared<SegmindReader>(options_,
                                         SegmindReader::Parts{.segmind = parts_.segmind,
                                                              .recorder = parts_.recorder,
                                                              .catalog = parts_.catalog,
                                                              .clock = parts_.clock,
                                                              .metrics = parts_.metrics,
                                                              .fleet = parts_.fleet,
                                                              .upstream_clock = upstream_clock_,
                                                              .list_is_partial = list_is_partial_},
                                         std::move(lease));
}

std::shared_ptr<SegmindReader> Tracker::reader() const {
  MutexLock lock(mu_);
  return reader_;
}

void Tracker::Start() {
  parts_.fleet.Start(*this, [this] { return parts_.catalog.view()->revision(); });
}

void Tracker::Stop() {
  std::shared_ptr<SegmindReader> readers[2];
  {
    MutexLock lock(mu_);
    stopped_ = true;
    readers[0] = reader_;
    readers[1] = last_reader_;
    settled_listener_ = nullptr;
  }
  for (const auto& reader : readers)
    if (reader != nullptr) reader->Stop();
  if (followed_ != nullptr) followed_->Stop();
}

void Tracker::Hint(std::string upstream_id, const TraceContext& trace) {
  if (const auto reader = this->reader())
    reader->Hint(std::move(upstream_id), trace);
  else
    parts_.fleet.Hint({std::move(upstream_id), trace});
}

void Tracker::Refresh(std::string id, absl::Time not_before, absl::Time deadline,
                      RefreshCalls::Done done) {
  const auto reader = this->reader();
  if (reader == nullptr)
    return followed_->Refresh(std::move(id), not_before, deadline, std::move(done));
  if (followed_ == nullptr)
    return reader->Refresh(std::move(id), not_before, deadline, std::move(done));
  // At the end of a term, the calls that wait are handed over.
  reader->Refresh(
      id, not_before, deadline,
      [this, id, not_before, deadline, done = std::move(done)](const absl::Status& status) mutable {
        if (!absl::IsAborted(status)) return std::move(done)(status);
        Refresh(std::move(id), not_before, deadline, std::move(done));
      });
}

void Tracker::Complete(std::string upstream_id) {
  if (const auto reader = this->reader())
    reader->Complete(std::move(upstream_id));
  else
    parts_.fleet.Hint({std::move(upstream_id), {}});
}

void Tracker::Wake() {
  if (const auto reader = this->reader())
    reader->Wake();
  else
    parts_.fleet.Wake();
}

void Tracker::NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end) {
  if (const auto reader = this->reader()) reader->NoteSubmitted(std::move(upstream_id), begin, end);
}

void Tracker::OnSettled(std::function<void(const std::string& fine_tune_id)> listener) {
  std::shared_ptr<SegmindReader> reader;
  {
    MutexLock lock(mu_);
    settled_listener_ = listener;
    reader = reader_;
  }
  if (reader != nullptr) reader->OnSettled(std::move(listener));
}

void Tracker::OnLead(std::shared_ptr<const LeaderLease> lease) {
  std::shared_ptr<SegmindReader> reader = this->reader();
  if (reader == nullptr) reader = MakeReader(std::move(lease));
  std::shared_ptr<SegmindReader> last;
  {
    MutexLock lock(mu_);
    if (stopped_) return;
    reader_ = reader;
    last = std::exchange(last_reader_, nullptr);
    if (followed_ != nullptr && settled_listener_) reader->OnSettled(settled_listener_);
  }
  // The last reader was told to stand down long ago.
  if (last != nullptr) last->Stop();
  reader->Start();
  if (followed_ == nullptr) return;
  followed_->HandOver([this](RefreshCalls::Call call) {
    Refresh(std::move(call.id), call.not_before, call.deadline, std::move(call.done));
  });
}

void Tracker::OnFollow() {
  std::shared_ptr<SegmindReader> reader;
  {
    MutexLock lock(mu_);
    if (stopped_) return;
    reader = last_reader_ = std::exchange(reader_, nullptr);
  }
  told_state_ = pb::GatewayStatus::UPSTREAM_STATE_UNSPECIFIED;
  parts_.segmind.ForgetLists();
  if (reader != nullptr) reader->StandDown();
}

void Tracker::OnHints(const std::vector<FleetHint>& hints) {
  for (const FleetHint& hint : hints) {
    TraceContext trace = hint.trace;
    trace.tracer = options_.tracer;
    Hint(hint.upstream_id, trace);
  }
}

pb::GatewayStatus::UpstreamState Tracker::upstream_state() const {
  UpstreamState state = parts_.segmind.state();
  bool is_known = !list_is_partial_ && parts_.catalog.observe_time() != absl::InfinitePast();
  if (followed_ != nullptr && reader() == nullptr) {
    state = Worse(state, told_state_);
    is_known = is_known && !parts_.fleet.status().leader_name.empty();
  }
  return state == pb::GatewayStatus::HEALTHY && !is_known ? pb::GatewayStatus::DEGRADED : state;
}

void Tracker::OnReading(const FleetReading& reading) {
  told_state_ = reading.upstream_state;
  if (reading.credits)
    parts_.segmind.credits().Note(reading.credits->micros, reading.credits->time);
  followed_->OnReading(reading);
}

void Tracker::OnWanted(uint64_t ticket) {
  if (const auto reader = this->reader()) reader->Want(ticket);
}

}  // namespace finetune
