#include "server/store/sqlite_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/store/record.pb.h"

namespace finetune {
namespace {

// In SQLite's user_version.
constexpr int64_t kSchemaVersion = 2;

constexpr char kInMemory[] = ":memory:";

// The exclusive mode keeps the file locked for as long as it is open, and needs no shared memory.
constexpr char kSettings[] = R"(
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA journal_size_limit = 67108864;
)";

// fine_tunes are stored in the order in which they are loaded: by their first revision.
constexpr char kSchema[] = R"(
  CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL);
  CREATE TABLE fine_tunes (
    first_revision INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL);
  CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    id TEXT NOT NULL,
    after BLOB NOT NULL,
    before BLOB);
  CREATE TABLE intents (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    marker TEXT NOT NULL,
    settle_time INTEGER,
    intent BLOB NOT NULL,
    create_time INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (caller, request_id)) WITHOUT ROWID;
  CREATE INDEX intents_by_state ON intents (state) WHERE state < 3;
  CREATE INDEX intents_by_settle_time ON intents (settle_time) WHERE settle_time IS NOT NULL;
  CREATE INDEX intents_by_create_time ON intents (caller, create_time, state);
)";

// Long enough for a process that is just ending to let go of the file.
constexpr char kBusyTimeout[] = "PRAGMA busy_timeout = 2000";

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteSession>> SqliteSession::Open(const std::string& path,
                                                                   bool create) {
  auto session = std::make_unique<SqliteSession>();
  session->path = path;
  RETURN_IF_ERROR(session->CreateFile(create));
  RETURN_IF_ERROR(session->OpenFile());
  RETURN_IF_ERROR(session->MakeTables());
  if (SqliteError error = session->PrepareAll(); !error.ok()) return session->Refusal(error);
  if (!session->get_meta.Step()) {
    SqliteError error = session->get_meta.Reset();
    return error.ok() ? session->Refusal("is damaged: it does not say its revision")
                      : session->Refusal(error);
  }
  session->epoch = session->get_meta.Blob(0);
  session->get_meta.Reset();
  return session;
}

// Made here and not by SQLite, so that nobody else can read it; what SQLite puts beside it takes
// the same mode.
absl::Status SqliteSession::CreateFile(bool create) {
  if (path == kInMemory) return absl::OkStatus();
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
  device = info.st_dev;
  inode = info.st_ino;
  return absl::OkStatus();
}

absl::Status SqliteSession::OpenFile() {
  SqliteError error = db.Open(path);
  if (error.ok()) error = db.Execute(kBusyTimeout);
  if (error.ok()) error = db.Execute(kSettings);
  // Takes the lock, and shows that the file can be written.
  if (error.ok()) error = db.Execute("BEGIN IMMEDIATE; PRAGMA user_version; COMMIT");
  return error.ok() ? absl::OkStatus() : Refusal(error);
}

absl::Status SqliteSession::MakeTables() {
  int64_t version = 0;
  int64_t tables = 0;
  SqliteError error = db.Query("PRAGMA user_version", version);
  if (error.ok()) error = db.Query("SELECT count(*) FROM sqlite_master", tables);
  if (!error.ok()) return Refusal(error);
  if (version > kSchemaVersion) {
    return Refusal(absl::StrCat("was written by a newer version (format ", version,
                                ", this one knows ", kSchemaVersion, ")"));
  }
  if (version == 1) {
    if (error = AddCreateTimes(); !error.ok()) return Refusal(error);
    version = kSchemaVersion;
  }
  if (version == kSchemaVersion) {
    // Written for real: a disk that is full or read-only stops a start.
    error = db.Execute("BEGIN IMMEDIATE; UPDATE meta SET revision = revision; COMMIT");
    return error.ok() ? absl::OkStatus() : Refusal(error);
  }
  if (tables != 0) return Refusal("is an SQLite file of something else");
  const std::string epoch = absl::StrReplaceAll(MakeUuid(), {{"-", ""}}).substr(0, 16);
  error =
      db.Execute(absl::StrCat("BEGIN IMMEDIATE;", kSchema, "INSERT INTO meta VALUES (1, '", epoch,
                              "', 0); PRAGMA user_version = ", kSchemaVersion, "; COMMIT"));
  return error.ok() ? absl::OkStatus() : Refusal(error);
}

SqliteError SqliteSession::AddCreateTimes() {
  SqliteError error = db.Execute(R"(
    BEGIN IMMEDIATE;
    ALTER TABLE intents ADD COLUMN create_time INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX intents_by_create_time ON intents (caller, create_time, state);
    PRAGMA user_version = 2)");
  SqliteStatement select, update;
  if (error.ok()) error = db.Prepare("SELECT intent FROM intents", select);
  if (!error.ok()) return error;
  std::vector<record::Intent> intents;
  while (select.Step()) {
    const std::string_view bytes = select.Blob(0);
    intents.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  error = select.Reset();
  if (error.ok()) {
    error = db.Prepare("UPDATE intents SET create_time = ?3 WHERE caller = ?1 AND request_id = ?2",
                       update);
  }
  for (const record::Intent& intent : intents) {
    if (!error.ok()) return error;
    error = update.Bind(1, intent.caller())
                .Bind(2, intent.request_id())
                .Bind(3, absl::ToUnixNanos(FromProto(intent.create_time())))
                .Run();
  }
  return error.ok() ? db.Execute("COMMIT") : error;
}

SqliteError SqliteSession::PrepareAll() {
  const struct {
    SqliteStatement* statement;
    const char* sql;
  } all[] = {
      {&begin, "BEGIN IMMEDIATE"},
      {&commit, "COMMIT"},
      {&get_meta, "SELECT epoch, revision FROM meta"},
      {&set_revision, "UPDATE meta SET revision = ?1"},
      {&insert_fine_tune, "INSERT INTO fine_tunes VALUES (?1, ?2, ?3)"},
      {&update_fine_tune, "UPDATE fine_tunes SET record = ?2 WHERE id = ?1"},
      {&insert_change, "INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5)"},
      {&forget_changes, "DELETE FROM changes WHERE revision <= ?1"},
      {&put_intent, "INSERT OR REPLACE INTO intents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
      {&delete_intent, "DELETE FROM intents WHERE caller = ?1 AND request_id = ?2"},
      {&forget_intents, "DELETE FROM intents WHERE settle_time < ?1"},
      {&find_intent, "SELECT intent FROM intents WHERE caller = ?1 AND request_id = ?2"},
      // NOT_SUBMITTED is 4.
      {&count_creates,
       "SELECT count(*), min(create_time) FROM intents "
       "WHERE caller = ?1 AND create_time > ?2 AND state < 4"},
  };
  for (const auto& [statement, sql] : all) {
    if (SqliteError error = db.Prepare(sql, *statement); !error.ok()) return error;
  }
  return {};
}

absl::Status SqliteSession::CheckFile() const {
  if (path == kInMemory) return absl::OkStatus();
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && info.st_dev == device && info.st_ino == inode) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the store file ", path, " was removed or replaced while in use"))
      .RetryAfter(absl::Seconds(1));
}

absl::Status SqliteSession::Refusal(std::string_view what) const {
  return absl::FailedPreconditionError(
      absl::StrCat("the store file ", path, " ", absl::string_view(what.data(), what.size())));
}

absl::Status SqliteSession::Refusal(const SqliteError& error) const {
  switch (error.code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Refusal("is in use by another process");
    case SQLITE_NOTADB:
      return Refusal("is not an SQLite file");
    case SQLITE_READONLY:
      return Refusal("cannot be written: it is read-only");
    default:
      return Refusal(absl::StrCat("cannot be used: ", error.message));
  }
}

}  // namespace finetune
