#include "server/store/postgres_session.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/uuid.h"
#include "server/store/postgres_schema.h"

namespace finetune {
namespace {

// The first version with libpq's pipelines and with the server's check for dead clients.
constexpr int kLeastVersion = 140000;

// Any number will do except that of the tables' lock, which is held for moments only.
constexpr char kTakeLock[] = "SELECT pg_try_advisory_lock(4918230517726490)::int::bigint";
constexpr char kShareLock[] = "SELECT pg_try_advisory_lock_shared(4918230517726490)::int::bigint";
constexpr absl::Duration kLockInterval = absl::Milliseconds(100);

// A gateway that stops between taking the record's lock and committing must not hold up the others,
// and one that is gone must be noticed within seconds.
constexpr const char* kSettings[] = {
    "SET lock_timeout = '2s'",
    "SET idle_in_transaction_session_timeout = '3s'",
    "SET tcp_user_timeout = '5s'",
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
    "SET client_connection_check_interval = '2s'",
    "SET default_transaction_isolation = 'read committed'",
    "SET default_transaction_read_only = off",
    "SET statement_timeout = 0",
    // Not all versions have both. A role's default could end the writer's connection between two
    // submissions, or during a long load.
    ("SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', "
     "'transaction_timeout')"),
    "SET search_path = pg_catalog",
    // A commit must be on disk when it is acknowledged, whatever the server's default. `on` leaves
    // stronger settings alone.
    ("SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN "
     "('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, false)"),
};

// Says why there is no session; the caller adds what it was for.
absl::Status Unavailable(const PgError& error) { return absl::UnavailableError(error.words()); }

}  // namespace

absl::Status PgUnavailable(const PgError& error) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the database cannot be used now: ", error.words()))
      .RetryAfter(absl::Seconds(1));
}

absl::StatusOr<std::unique_ptr<PostgresSession>> PostgresSession::Open(
    const PgTarget& target, Use use, absl::Time deadline, absl::Duration lock_patience) {
  ASSIGN_OR_RETURN(std::unique_ptr<PostgresSession> session, OpenBeside(target, deadline));
  RETURN_IF_ERROR(PreparePostgresTables(
      *session->connection_, absl::StrReplaceAll(MakeUuid(), {{"-", ""}}).substr(0, 16), deadline,
      /*accept_unfinished_move=*/use == Use::kAlone));
  RETURN_IF_ERROR(session->TakeLock(use, SteadyNow() + lock_patience));
  // Tables that were restored from a dump into a running server are other tables, which their
  // files' numbers show.
  std::vector<PgRows> rows;
  const PgError error = session->connection_->Run(
      {{"SELECT pg_relation_filenode('finetune.meta')::text"}}, deadline, rows);
  if (!error.ok()) return Unavailable(error);
  absl::StrAppend(&session->server_, "/", std::string(rows[0].Bytes(0, 0)));
  return session;
}

absl::StatusOr<std::unique_ptr<PostgresSession>> PostgresSession::OpenBeside(const PgTarget& target,
                                                                             absl::Time deadline) {
  auto session = std::make_unique<PostgresSession>();
  ASSIGN_OR_RETURN(session->connection_, PgConnection::Open(target, deadline));
  RETURN_IF_ERROR(session->CheckPooler(target, deadline));
  RETURN_IF_ERROR(session->CheckServer(deadline));
  RETURN_IF_ERROR(session->Set(deadline));
  return session;
}

absl::Status PostgresSession::CheckServer(absl::Time deadline) {
  if (connection_->server_version() < kLeastVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("it is PostgreSQL ", connection_->server_version() / 10000,
                     "; 14 is the oldest that this gateway works with"));
  }
  std::vector<PgRows> rows;
  PgError error = connection_->Run({{"SELECT pg_is_in_recovery()::int::bigint, "
                                     "current_setting('server_encoding')"}},
                                   deadline, rows);
  if (!error.ok()) return Unavailable(error);
  if (rows[0].Number(0, 0) != 0) {
    return absl::FailedPreconditionError(
        "it is a standby, which cannot be written: give the address of the primary (or of the "
        "service that leads to it)");
  }
  // Callers and Segmind write in all languages.
  if (rows[0].Bytes(0, 1) != "UTF8") {
    const std::string_view encoding = rows[0].Bytes(0, 1);
    return absl::FailedPreconditionError(
        absl::StrCat("database ", connection_->database(), " has the encoding ",
                     absl::string_view(encoding.data(), encoding.size()),
                     ": make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"));
  }
  // A managed server may not reveal its system id or the name of its log. Then only a restart is
  // noticed, and little else.
  const char* const full =
      "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), "
      "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), "
      "extract(epoch FROM pg_postmaster_start_time()))";
  error = connection_->Run({{full}}, deadline, rows);
  // Only after a lasting error: a server whose answer was interrupted would be taken for another
  // one.
  if (!error.ok() && !error.broken() && (!error.passes() || error.state == "0A000"))
    error = connection_->Run({{"SELECT extract(epoch FROM pg_postmaster_start_time())::text"}},
                             deadline, rows);
  if (!error.ok()) return Unavailable(error);
  server_ = rows[0].Bytes(0, 0);
  return absl::OkStatus();
}

absl::Status PostgresSession::Set(absl::Time deadline) {
  std::vector<PgQuery> queries;
  for (const char* sql : kSettings) queries.push_back({sql});
  std::vector<PgRows> rows;
  const PgError error = connection_->Run(queries, deadline, rows);
  if (error.broken() || error.passes()) return Unavailable(error);
  if (!error.ok())
    return absl::FailedPreconditionError(
        absl::StrCat("a session cannot be set up: ", error.message));
  return absl::OkStatus();
}

// Settings, locks and notifications belong to a backend. A pooler that changes the backend from
// transaction to transaction cannot be used, even if it happens to give the same one while nobody
// else is there.
absl::Status PostgresSession::CheckPooler(const PgTarget& target, absl::Time deadline) {
  constexpr char kBackend[] = "SELECT pg_backend_pid()::bigint";
  std::vector<PgRows> rows;
  const auto ask = [&](PgConnection& connection, int64_t& backend) {
    const PgError error = connection.Run({{kBackend}}, deadline, rows);
    if (error.ok()) backend = rows[0].Number(0, 0);
    return error;
  };
  int64_t mine = 0, others = 0, again = 0;
  if (const PgError error = ask(*connection_, mine); !error.ok()) return Unavailable(error);
  // A pooler reports a number of its own here, instead of the backend's.
  if (mine == connection_->backend()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto other, PgConnection::Open(target, deadline));
  PgError error = other->Run({{"BEGIN"}}, deadline, rows);
  if (error.ok()) error = ask(*other, others);
  // Asked while the other connection is within a transaction.
  if (error.ok()) error = ask(*connection_, again);
  if (!error.ok()) return Unavailable(error);
  if (mine != others && mine == again) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "there is a pooler in between that shares connections between transactions: give the "
      "database's own address, or one of a pooler in session mode");
}

absl::Status PostgresSession::TakeLock(Use use, absl::Time deadline) {
  const char* const take = use == Use::kShared ? kShareLock : kTakeLock;
  std::vector<PgRows> rows;
  while (true) {
    const PgError error = connection_->Run({{take}}, SteadyNow() + absl::Seconds(5), rows);
    if (!error.ok()) return Unavailable(error);
    if (rows[0].Number(0, 0) != 0) return absl::OkStatus();
    if (SteadyNow() > deadline) break;
    absl::SleepFor(kLockInterval);
  }
  return absl::FailedPreconditionError(use == Use::kShared
                                           ? "the record is being moved: wait until that is done"
                                           : "gateways work on the record: stop all of them first");
}

}  // namespace finetune
