#include "server/store/postgres_calls.h"

#include <algorithm>

#include "server/base/clock.h"
#include "server/store/postgres_now.h"
#include "server/store/postgres_session.h"

namespace finetune {
namespace {

// A little more than a minute, because calls take different times to travel. In nanoseconds, and by
// the statement's own time: a transaction that waited for a row must not judge by the time at which
// it began.
#define A_WINDOW_AGO PG_NOW " - 60500000000"

constexpr char kTake[] = "UPDATE finetune.upstream_calls SET at = " PG_NOW
                         ", kind = $1::bigint WHERE slot = (SELECT slot FROM "
                         "finetune.upstream_calls WHERE at <= " A_WINDOW_AGO
                         " ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED) AND NOT EXISTS (SELECT FROM "
                         "finetune.upstream_hold WHERE until > " PG_NOW ") RETURNING slot, at";

// Counts calls again that the table lacks, wherever there is room: others may have been granted
// their rows since.
constexpr char kBringBack[] =
    "WITH made AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) "
    "WITH ORDINALITY AS u (slot, at, time, kind, n)), lost AS (SELECT m.*, row_number() OVER "
    "(ORDER BY n DESC) AS turn FROM made AS m WHERE NOT EXISTS (SELECT FROM "
    "finetune.upstream_calls AS c WHERE c.slot = m.slot AND c.at = m.at)), free AS (SELECT slot "
    "FROM finetune.upstream_calls WHERE at <= " A_WINDOW_AGO
    " ORDER BY at LIMIT (SELECT count(*) FROM lost) FOR UPDATE SKIP LOCKED), places AS (SELECT "
    "slot, row_number() OVER () AS turn FROM free) UPDATE finetune.upstream_calls AS c SET at = "
    "least(lost.time, " PG_NOW
    "), kind = lost.kind FROM lost JOIN places USING (turn) WHERE c.slot = places.slot RETURNING "
    "lost.n, c.slot, c.at";
constexpr absl::Duration kWindow = absl::Milliseconds(60'500);

// A grant that took longer is too old to use, because others count the call from the time of the
// grant.
constexpr absl::Duration kStale = absl::Milliseconds(300);

// A row's slot and time identify a call.
uint64_t IdOf(int64_t slot, int64_t at) {
  return static_cast<uint64_t>(at) * 1'000'003 + static_cast<uint64_t>(slot);
}

absl::Status Stopped() { return PgUnavailable({"", "the gateway is stopping"}); }

}  // namespace

void PostgresCalls::Ask(int kind, Done done) {
  {
    MutexLock lock(mu_);
    if (!stopped_) {
      waiting_.asked.push_back({kind, std::move(done)});
      done = nullptr;
    }
  }
  if (done) return std::move(done)(Stopped());
  wake_();
}

void PostgresCalls::HoldUntil(absl::Time time) {
  {
    MutexLock lock(mu_);
    waiting_.hold_until = std::max(waiting_.hold_until, time);
  }
  wake_();
}

void PostgresCalls::Follow(std::function<void(const Picture&)> listener) {
  MutexLock lock(listener_mu_);
  listener_ = std::move(listener);
}

PostgresCalls::Waiting PostgresCalls::Take() {
  MutexLock lock(mu_);
  return std::exchange(waiting_, {});
}

PgError PostgresCalls::Run(PgConnection& connection, const DatabaseClock& clock,
                           absl::Duration patience) {
  Waiting waiting = Take();
  PgError error;
  std::vector<PgRows> rows;
  if (may_lack_) error = BringBack(connection, clock, patience);
  if (waiting.hold_until != absl::InfinitePast()) {
    const absl::Time until = clock.ToDatabaseAtMost(waiting.hold_until);
    if (error.ok())
      error =
          connection.Run({{"UPDATE finetune.upstream_hold SET until = greatest(until, $1::bigint)",
                           {PgValue::Number(absl::ToUnixNanos(until))}}},
                         SteadyNow() + patience, rows);
    if (!error.ok()) {
      // Kept, and written as soon as that is possible.
      MutexLock lock(mu_);
      waiting_.hold_until = std::max(waiting_.hold_until, waiting.hold_until);
    }
  }
  for (Asked& asked : waiting.asked) {
    Answer answer;
    if (error.ok()) error = RunOne(connection, clock, patience, asked.kind, answer);
    if (error.ok())
      std::move(asked.done)(std::move(answer));
    else
      std::move(asked.done)(PgUnavailable(error));
  }
  return error;
}

PgError PostgresCalls::BringBack(PgConnection& connection, const DatabaseClock& clock,
                                 absl::Duration patience) {
  const absl::Time now = SteadyNow();
  while (!made_.empty() && made_.front().granted < now - kWindow) made_.pop_front();
  std::vector<PgValue> slots, ats, times, kinds;
  for (const Made& made : made_) {
    slots.push_back(PgValue::Number(made.slot));
    ats.push_back(PgValue::Number(made.at));
    times.push_back(PgValue::Number(absl::ToUnixNanos(clock.ToDatabaseAtMost(made.granted))));
    kinds.push_back(PgValue::Number(made.kind));
  }
  std::vector<PgRows> rows;
  if (!made_.empty()) {
    const auto numbers = [](const std::vector<PgValue>& values) {
      return PgValue::Array(PgValue::kBigint, values);
    };
    PgError error = connection.Run(
        {{kBringBack, {numbers(slots), numbers(ats), numbers(times), numbers(kinds)}}},
        now + patience, rows);
    if (!error.ok()) return error;
    for (int i = 0; i < rows[0].size(); ++i) {
      Made& made = made_[static_cast<size_t>(rows[0].Number(i, 0)) - 1];
      made.slot = rows[0].Number(i, 1);
      made.at = rows[0].Number(i, 2);
    }
  }
  may_lack_ = false;
  return {};
}

PgError PostgresCalls::RunOne(PgConnection& connection, const DatabaseClock& clock,
                              absl::Duration patience, int kind, Answer& answer) {
  std::vector<PgQuery> queries = {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
                                  // Survives a crash of the server; does not wait for a standby.
                                  {"SET LOCAL synchronous_commit = local"},
                                  {kTake, {PgValue::Number(kind)}}};
  for (PgQuery& query : PictureQueries()) queries.push_back(std::move(query));
  queries.push_back({"COMMIT"});
  std::vector<PgRows> rows;
  const absl::Time sent = SteadyNow();
  PgError error = connection.Run(queries, SteadyNow() + patience, rows);
  if (!error.ok()) {
    if (!connection.broken()) (void)connection.Run({{"ROLLBACK"}}, SteadyNow() + patience, rows);
    return error;
  }
  answer.picture = PictureOf(rows[3], rows[4], clock);
  if (rows[2].size() == 1 && SteadyNow() - sent < kStale) {
    made_.push_back({rows[2].Number(0, 0), rows[2].Number(0, 1), kind, SteadyNow()});
    answer.granted = IdOf(made_.back().slot, made_.back().at);
    while (made_.front().granted < made_.back().granted - kWindow) made_.pop_front();
  }
  return {};
}

void PostgresCalls::Refuse(const absl::Status& why) {
  std::vector<Asked> asked;
  {
    MutexLock lock(mu_);
    asked.swap(waiting_.asked);
  }
  for (Asked& one : asked) std::move(one.done)(why);
}

void PostgresCalls::Stop() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  Refuse(Stopped());
}

std::vector<PgQuery> PostgresCalls::PictureQueries() {
  return {{"SELECT slot, at, kind FROM finetune.upstream_calls WHERE at > " A_WINDOW_AGO
           " ORDER BY at"},
          {"SELECT coalesce(max(until), 0) FROM finetune.upstream_hold"}};
}

CallBudget::Picture PostgresCalls::PictureOf(const PgRows& calls, const PgRows& hold,
                                             const DatabaseClock& clock) {
  Picture picture;
  for (int i = 0; i < calls.size(); ++i) {
    const int64_t at = calls.Number(i, 1);
    picture.calls.push_back({.id = IdOf(calls.Number(i, 0), at),
                             .time = clock.ToSteadyAtMost(absl::FromUnixNanos(at)),
                             .kind = static_cast<int>(calls.Number(i, 2))});
  }
  picture.hold_until = clock.ToSteadyAtMost(absl::FromUnixNanos(hold.Number(0, 0)));
  return picture;
}

void PostgresCalls::Show(const Picture& picture) {
  MutexLock lock(listener_mu_);
  if (listener_) listener_(picture);
}

std::vector<PgQuery> PostgresCalls::LimitQueries(int calls_per_minute) {
  return {{"INSERT INTO finetune.upstream_calls (slot) SELECT generate_series(1, $1::bigint) ON "
           "CONFLICT DO NOTHING",
           {PgValue::Number(calls_per_minute)}},
          {"DELETE FROM finetune.upstream_calls WHERE slot > $1::bigint",
           {PgValue::Number(calls_per_minute)}}};
}

}  // namespace finetune
