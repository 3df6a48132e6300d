#include "server/store/postgres_outbox.h"

#include <utility>

#include "server/base/utf8.h"
#include "server/store/postgres_leader.h"
#include "server/store/postgres_now.h"
#include "server/store/postgres_session.h"
#include "server/store/reading_bytes.h"

namespace finetune {
namespace {

constexpr size_t kMostHints = 1'000;
constexpr size_t kLongestHint = 255;

absl::Status Stopping() { return PgUnavailable({"", "the gateway is stopping"}); }

}  // namespace

PgQuery NotifyFleetQuery(const char* word) {
  return {"SELECT pg_notify('finetune_fleet', $1::text)", {PgValue::Text(word)}};
}

void PostgresOutbox::AddHint(std::string upstream_id) {
  // It comes from outside. What no text of the database's can hold is no name of Segmind's.
  if (ValidUtf8(upstream_id, kLongestHint) != upstream_id ||
      upstream_id.find('\0') != std::string::npos)
    upstream_id.clear();
  MutexLock lock(mu_);
  if (waiting_.hints.size() < kMostHints) waiting_.hints.push_back(std::move(upstream_id));
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
  // Others are not to hear of a term that is over.
  if (term == nullptr) taken_.reading.reset();
  std::vector<PgQuery> queries;
  // First, for OnSaid.
  if (!taken_.wants.empty()) queries.push_back(WantQuery());
  if (!taken_.hints.empty()) {
    queries.push_back({"INSERT INTO finetune.hints SELECT unnest($1::text[]), " PG_NOW
                       " ON CONFLICT DO NOTHING",
                       {PgValue::Texts(taken_.hints)}});
  }
  if (taken_.reading) {
    queries.push_back(TellQuery(*term, EncodeReading(*taken_.reading, clock)));
    queries.push_back(NotifyFleetQuery(kFleetToAll));
  }
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
  for (std::string& id : taken_.hints)
    if (waiting_.hints.size() < kMostHints) waiting_.hints.push_back(std::move(id));
}

}  // namespace finetune
