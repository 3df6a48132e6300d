#include "server/store/sqlite_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/absl_view.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/uuid.h"

namespace finetune {
namespace {

constexpr char kInMemory[] = ":memory:";

// In exclusive mode the file stays locked while it is open, and no shared memory is needed. Pages
// whose cells make no sense are refused as soon as they are read.
constexpr char kPragmas[] = R"(
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA cell_size_check = ON;
)";

// Every copy of the record has the same key, so a submission that a copy lacks gets the same marker
// when it is made again.
constexpr char kMarkerKey[] = R"(
  CREATE TABLE IF NOT EXISTS marker_key (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    key BLOB NOT NULL);
  INSERT OR IGNORE INTO marker_key VALUES (1, randomblob(32));
)";

// Long enough for a process that is just ending to let go of the file.
constexpr char kBusyTimeout[] = "PRAGMA busy_timeout = 2000";

}  // namespace

absl::Status SqliteUnavailable(std::string_view path, std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the store file ", AbslView(path),
                            " cannot be used now: ", AbslView(why)))
      .RetryAfter(absl::Seconds(1));
}

absl::StatusOr<std::unique_ptr<SqliteSession>> SqliteSession::Open(const std::string& path,
                                                                   bool create) {
  auto session = std::make_unique<SqliteSession>();
  session->path = path;
  RETURN_IF_ERROR(session->CreateFile(create));
  RETURN_IF_ERROR(session->OpenFile());
  RETURN_IF_ERROR(session->MakeTables());
  if (SqliteError error = session->db.Execute(kMarkerKey); !error.ok())
    return session->Refusal(error);
  if (SqliteError error = session->PrepareAll(); !error.ok()) return session->Refusal(error);
  RETURN_IF_ERROR(session->ReadMeta());
  session->NoteFiles();
  return session;
}

SqliteSession::~SqliteSession() {
  if (log_file_ >= 0) close(log_file_);
}

bool SqliteSession::InMemory() const { return path == kInMemory; }

// Created here and not by SQLite, so that nobody else can read it. The files that SQLite puts
// beside it take over its mode.
absl::Status SqliteSession::CreateFile(bool create) {
  if (InMemory()) return absl::OkStatus();
  if (create) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error) return Refusal(absl::StrCat("cannot be made: ", error.message()));
  }
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  if (file < 0) return Refusal(absl::StrCat("cannot be opened: ", strerror(errno)));
  struct stat info;
  const bool known = fstat(file, &info) == 0;
  close(file);
  if (!known || !S_ISREG(info.st_mode)) return Refusal("is not a regular file");
  return absl::OkStatus();
}

absl::Status SqliteSession::OpenFile() {
  SqliteError error = db.Open(path);
  if (error.ok()) error = db.Execute(kBusyTimeout);
  if (error.ok()) error = db.Execute(kPragmas);
  // Takes the lock and shows that the file can be written.
  if (error.ok()) error = db.Execute("BEGIN IMMEDIATE; PRAGMA user_version; COMMIT");
  return error.ok() ? absl::OkStatus() : Refusal(error);
}

absl::Status SqliteSession::MakeTables() {
  int64_t form = 0;
  int64_t tables = 0;
  SqliteError error = db.Query("PRAGMA user_version", form);
  if (error.ok()) error = db.Query("SELECT count(*) FROM sqlite_master", tables);
  if (!error.ok()) return Refusal(error);
  if (form > kSqliteForm) {
    return Refusal(absl::StrCat("was written by a newer version (format ", form,
                                ", this one knows ", kSqliteForm, ")"));
  }
  if (form == kSqliteForm) return absl::OkStatus();
  if (form > 0) {
    error = UpgradeSqliteTables(db, form);
  } else if (tables != 0) {
    return Refusal("is an SQLite file of something else");
  } else {
    error = MakeSqliteTables(db, absl::StrReplaceAll(MakeUuid(), {{"-", ""}}).substr(0, 16));
  }
  return error.ok() ? absl::OkStatus() : Refusal(error);
}

absl::Status SqliteSession::ReadMeta() {
  SqliteStatement select;
  SqliteError error =
      db.Prepare("SELECT epoch, revision, seq, digest, lost, moved_to, sum FROM meta", select);
  if (!error.ok()) return Refusal(error);
  const bool found = select.Step();
  int64_t sum = 0;
  if (found) {
    meta.epoch = select.Blob(0);
    meta.revision = static_cast<uint64_t>(select.Number(1));
    meta.seq = static_cast<uint64_t>(select.Number(2));
    meta.digest = select.Number(3);
    meta.lost = select.Blob(4);
    meta.moved_to = select.Blob(5);
    sum = select.Number(6);
  }
  error = select.Reset();
  if (!error.ok()) return Refusal(error);
  if (!found || sum != meta.Sum()) return Damaged("its revision cannot be read");
  return absl::OkStatus();
}

SqliteError SqliteSession::PrepareAll() {
  const struct {
    SqliteStatement* statement;
    const char* sql;
  } all[] = {
      {&begin, "BEGIN IMMEDIATE"},
      {&commit, "COMMIT"},
      {&set_meta, "UPDATE meta SET revision = ?1, seq = ?2, digest = ?3, lost = ?4, sum = ?5"},
      {&put_era, "INSERT INTO eras VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
      {&insert_fine_tune, "INSERT INTO fine_tunes VALUES (?1, ?2, ?3, ?4)"},
      {&find_fine_tune, "SELECT first_revision, sum FROM fine_tunes WHERE id = ?1"},
      {&update_fine_tune, "UPDATE fine_tunes SET record = ?2, sum = ?3 WHERE first_revision = ?1"},
      {&delete_fine_tune, "DELETE FROM fine_tunes WHERE first_revision = ?1"},
      {&insert_change, "INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
      {&forget_changes, "DELETE FROM changes WHERE revision <= ?1"},
      {&put_intent, "INSERT OR REPLACE INTO intents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
      {&find_intent, "SELECT intent, sum FROM intents WHERE caller = ?1 AND request_id = ?2"},
      {&forget_intents, "DELETE FROM intents WHERE settle_time < ?1 RETURNING sum"},
      // REFUSED is 5.
      {&forget_refusals, "DELETE FROM intents WHERE settle_time < ?1 AND state = 5 RETURNING sum"},
      // NOT_SUBMITTED is 4.
      {&count_creates,
       "SELECT count(*), min(create_time) FROM intents "
       "WHERE caller = ?1 AND create_time > ?2 AND state < 4"},
      {&put_spending, kPutSpending},
      {&find_spending,
       "SELECT jobs, micros, sum FROM spending WHERE quarter = ?1 AND caller = ?2 AND team = ?3 "
       "AND model = ?4 AND labels = ?5 AND unit = ?6 AND outcome = ?7"},
      {&delete_spending,
       "DELETE FROM spending WHERE quarter = ?1 AND caller = ?2 AND team = ?3 AND model = ?4 AND "
       "labels = ?5 AND unit = ?6 AND outcome = ?7"},
      {&forget_spending, "DELETE FROM spending WHERE quarter < ?1 RETURNING sum"},
      {&put_total, "INSERT OR REPLACE INTO totals VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
      {&find_total,
       "SELECT amount, sum FROM totals WHERE subject = ?1 AND until = ?2 AND start = ?3 AND "
       "measure = ?4"},
      // Totals whose period is over are left out.
      {&find_totals_of,
       "SELECT until, start, amount, sum FROM totals WHERE subject = ?1 AND until > ?2 AND start "
       "<= ?2 AND measure = ?3"},
      {&forget_totals, "DELETE FROM totals WHERE until < ?1 RETURNING sum"},
  };
  for (const auto& [statement, sql] : all) {
    if (SqliteError error = db.Prepare(sql, *statement); !error.ok()) return error;
  }
  return {};
}

SqliteSession::Files SqliteSession::LookAtFiles() const {
  if (InMemory()) return Files::kAsLeft;
  const FileStamp file = FileStamp::Of(path);
  if (!file.SameFile(file_)) return Files::kTaken;
  const FileStamp log = FileStamp::Of(LogPath());
  if (file == file_ && log == log_) return Files::kAsLeft;
  const bool whole = log_file_ >= 0 && FileStamp::OfOpen(log_file_) == log_;
  return file == file_ && !log.exists && whole ? Files::kLogRemoved : Files::kWrittenByOthers;
}

void SqliteSession::NoteFiles() {
  if (InMemory()) return;
  // A file that has replaced ours must not be taken for the one that is open.
  const FileStamp file = FileStamp::Of(path);
  if (!file_.exists || file.SameFile(file_)) file_ = file;
  if (log_file_ < 0) log_file_ = open(LogPath().c_str(), O_RDONLY | O_CLOEXEC);
  if (log_file_ >= 0) log_ = FileStamp::OfOpen(log_file_);
}

SqliteError SqliteSession::SaveLog() {
  int64_t busy = 0;
  SqliteError error = db.Query("PRAGMA wal_checkpoint(TRUNCATE)", busy);
  if (error.ok() && busy != 0) return {SQLITE_BUSY, "the log could not be saved"};
  return error;
}

void SqliteSession::LeaveFilesAlone() { db.LeaveLogOnClose(); }

absl::Status SqliteSession::CheckStructure() {
  SqliteStatement check;
  // The first problem is enough.
  SqliteError error = db.Prepare("PRAGMA integrity_check(1)", check);
  if (!error.ok()) return Refusal(error);
  std::string verdict;
  if (check.Step()) verdict = check.Blob(0);
  error = check.Reset();
  if (!error.ok()) return Refusal(error);
  return verdict == "ok" ? absl::OkStatus() : Damaged("its structure is not whole");
}

absl::StatusOr<Lineage> SqliteSession::ReadEras() {
  SqliteStatement select;
  SqliteError error = db.Prepare(
      "SELECT number, id, base_revision, base_seq, began, why, sum FROM eras ORDER BY number",
      select);
  std::vector<Era> eras;
  bool whole = true;
  while (error.ok() && select.Step()) {
    Era era{.id = static_cast<uint64_t>(select.Number(1)),
            .base_revision = static_cast<uint64_t>(select.Number(2)),
            .base_seq = static_cast<uint64_t>(select.Number(3)),
            .began = absl::FromUnixNanos(select.Number(4)),
            .why = std::string(select.Blob(5))};
    whole = whole && select.Number(6) == SumOfEra(select.Number(0), era);
    eras.push_back(std::move(era));
  }
  if (error.ok()) error = select.Reset();
  if (!error.ok()) return Refusal(error);
  if (!whole || eras.empty()) return Damaged("its eras cannot be read");
  return Lineage(std::move(eras));
}

SqliteError SqliteSession::PutEra(int64_t number, const Era& era) {
  return put_era.Bind(1, number)
      .Bind(2, static_cast<int64_t>(era.id))
      .Bind(3, static_cast<int64_t>(era.base_revision))
      .Bind(4, static_cast<int64_t>(era.base_seq))
      .Bind(5, absl::ToUnixNanos(era.began))
      .Bind(6, era.why)
      .Bind(7, SumOfEra(number, era))
      .Run();
}

SqliteError SqliteSession::PutRecord(int64_t first_revision, std::string_view id,
                                     std::string_view record, int64_t& digest) {
  const int64_t sum = SumOfRecord(first_revision, id, record);
  digest ^= sum;
  return insert_fine_tune.Bind(1, first_revision)
      .Bind(2, id)
      .BindBlob(3, record)
      .Bind(4, sum)
      .Run();
}

SqliteError SqliteSession::PutChange(const StoredChange& change) {
  const auto revision = static_cast<int64_t>(change.revision);
  const int64_t time = absl::ToUnixNanos(change.time);
  insert_change.Bind(1, revision)
      .Bind(2, time)
      .Bind(3, change.fine_tune_id)
      .BindBlob(4, change.after)
      .Bind(6, int64_t{change.forgotten})
      .Bind(7, SumOfChange(revision, time, change.fine_tune_id, change.after, change.before,
                           change.forgotten));
  if (!change.before.empty()) insert_change.BindBlob(5, change.before);
  return insert_change.Run();
}

SqliteError SqliteSession::PutIntent(const record::Intent& intent, int64_t& digest) {
  const std::string bytes = intent.SerializeAsString();
  const IntentColumns columns(intent);
  const int64_t sum = SumOfIntent(intent.caller(), intent.request_id(), bytes);
  digest ^= sum;
  put_intent.Bind(1, intent.caller())
      .Bind(2, intent.request_id())
      .Bind(3, columns.state)
      .Bind(4, intent.marker())
      .BindBlob(6, bytes)
      .Bind(7, columns.create_time)
      .Bind(8, sum);
  if (columns.settle_time) put_intent.Bind(5, *columns.settle_time);
  return put_intent.Run();
}

absl::Status SqliteSession::Refusal(std::string_view what) const {
  return absl::FailedPreconditionError(absl::StrCat("the store file ", path, " ", AbslView(what)));
}

absl::Status SqliteSession::Damaged(std::string_view what) const {
  return absl::DataLossError(absl::StrCat(
      "the store file ", path, " is damaged (", AbslView(what),
      "): stop the gateway, keep the file, and put back the latest copy of it with its -wal and "
      "-mark files"));
}

absl::Status SqliteSession::CheckWhole(bool is_whole, std::string_view what) const {
  return is_whole ? absl::OkStatus() : Damaged(absl::StrCat(AbslView(what), " cannot be read"));
}

absl::Status SqliteSession::Check(const SqliteError& error) const {
  return error.ok() ? absl::OkStatus() : SqliteUnavailable(path, error.message);
}

absl::Status SqliteSession::Refusal(const SqliteError& error) const {
  switch (error.code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Refusal("is in use by another process");
    case SQLITE_NOTADB:
      return Refusal(
          "is not an SQLite file, or its beginning is damaged: give the path of a store, or put "
          "back the latest copy of it");
    case SQLITE_READONLY:
      return Refusal("cannot be written: it is read-only");
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:  // Tables that are not as they were made.
      return Damaged(error.message);
    default:
      return Refusal(absl::StrCat("cannot be used: ", error.message));
  }
}

}  // namespace finetune
