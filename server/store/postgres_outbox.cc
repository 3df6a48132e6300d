#include "server/store/postgres_outbox.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/utf8.h"
#include "server/store/postgres_leader.h"
#include "server/store/postgres_now.h"
#include "server/store/postgres_session.h"
#include "server/store/reading_bytes.h"

namespace finetune {
namespace {

constexpr size_t kMostHints = 1'000;
constexpr size_t kLongestHint = 255;
constexpr char kTrace[] = "trace ";

absl::Status Stopping() { return PgUnavailable({"", "the gateway is stopping"}); }

}  // namespace

PgQuery NotifyFleetQuery(std::string_view word) {
  return {"SELECT pg_notify('finetune_fleet', $1::text)", {PgValue::Text(word)}};
}

std::string FleetTraceWord(const FleetHint& hint) {
  return absl::StrCat(kTrace, hint.trace.Traceparent(), " ", hint.upstream_id);
}

std::optional<FleetHint> HintOfTraceWord(std::string_view word) {
  constexpr std::string_view kBegin = kTrace;
  if (word.substr(0, kBegin.size()) != kBegin) return std::nullopt;
  word.remove_prefix(kBegin.size());
  const size_t end = word.find(' ');
  if (end == word.npos) return std::nullopt;
  const auto trace = ParseTraceparent(word.substr(0, end));
  if (!trace) return std::nullopt;
  return FleetHint{std::string(word.substr(end + 1)), *trace};
}

void PostgresOutbox::AddHint(FleetHint hint) {
  // The id comes from outside. If the database cannot store it as text, it is not a name of
  // Segmind's.
  std::string& id = hint.upstream_id;
  if (ValidUtf8(id, kLongestHint) != id || id.find('\0') != std::string::npos) id.clear();
  MutexLock lock(mu_);
  if (waiting_.hints.size() < kMostHints) waiting_.hints.push_back(std::move(hint));
}

void PostgresOutbox::AddWake() {
  MutexLock lock(mu_);
  waiting_.wake = true;
}

void PostgresOutbox::AddWant(Fleet::WantDone done) {
  {
    MutexLock lock(mu_);
    if (!closed_) return waiting_.wants.push_back(std::move(done));
  }
  std::move(done)(Stopping());
}

void PostgresOutbox::SetReading(const FleetReading& reading) {
  MutexLock lock(mu_);
  waiting_.reading = reading;
}

void PostgresOutbox::DropReading() {
  MutexLock lock(mu_);
  waiting_.reading.reset();
}

void PostgresOutbox::RefuseWants(const absl::Status& why) {
  std::vector<Fleet::WantDone> wants;
  {
    MutexLock lock(mu_);
    wants.swap(waiting_.wants);
  }
  for (Fleet::WantDone& done : wants) std::move(done)(why);
}

void PostgresOutbox::Close() {
  {
    MutexLock lock(mu_);
    closed_ = true;
  }
  RefuseWants(Stopping());
}

std::vector<PgQuery> PostgresOutbox::Take(const LeaderTerm* term, const DatabaseClock& clock) {
  taken_ = Content();
  {
    MutexLock lock(mu_);
    std::swap(taken_, waiting_);
  }
  // Others must not hear of a term that is over.
  if (term == nullptr) taken_.reading.reset();
  std::vector<PgQuery> queries;
  // First, because OnSaid expects it there.
  if (!taken_.wants.empty()) queries.push_back(WantQuery());
  if (!taken_.hints.empty()) {
    std::vector<std::string> ids;
    for (const FleetHint& hint : taken_.hints) ids.push_back(hint.upstream_id);
    queries.push_back({"INSERT INTO finetune.hints SELECT unnest($1::text[]), " PG_NOW
                       " ON CONFLICT DO NOTHING",
                       {PgValue::Texts(ids)}});
  }
  if (taken_.reading) {
    queries.push_back(TellQuery(*term, EncodeReading(*taken_.reading, clock)));
    queries.push_back(NotifyFleetQuery(kFleetToAll));
  }
  // Before the notification that makes the leader look for the hints.
  for (const FleetHint& hint : taken_.hints)
    if (hint.trace.valid() && hint.trace.sampled)
      queries.push_back(NotifyFleetQuery(FleetTraceWord(hint)));
  if (!taken_.hints.empty() || !taken_.wants.empty())
    queries.push_back(NotifyFleetQuery(kFleetToLeader));
  if (taken_.wake) queries.push_back(NotifyFleetQuery(kFleetWake));
  return queries;
}

void PostgresOutbox::OnSaid(const std::vector<PgRows>& rows) {
  for (Fleet::WantDone& done : std::exchange(taken_.wants, {}))
    std::move(done)(static_cast<uint64_t>(rows[0].Number(0, 0)));
}

void PostgresOutbox::OnNotSaid(const PgError& error) {
  for (Fleet::WantDone& done : std::exchange(taken_.wants, {}))
    std::move(done)(PgUnavailable(error));
  if (!error.broken() && !error.passes()) return;
  MutexLock lock(mu_);
  waiting_.wake |= taken_.wake;
  if (!waiting_.reading) waiting_.reading = std::move(taken_.reading);
  for (FleetHint& hint : taken_.hints)
    if (waiting_.hints.size() < kMostHints) waiting_.hints.push_back(std::move(hint));
}

}  // namespace finetune
