#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "server/store/sqlite_database.h"

namespace finetune {

// An open store file: the connection, with the lock on the file, and the statements. Not
// thread-safe.
struct SqliteSession {
  // FAILED_PRECONDITION, in one sentence that names the file, if it cannot be opened, is held by
  // another process, is not a store, or was written by a newer version. Without `create` the file
  // must exist.
  static absl::StatusOr<std::unique_ptr<SqliteSession>> Open(const std::string& path, bool create);

  // UNAVAILABLE if `path` no longer leads to the open file: what is written to it would be lost.
  absl::Status CheckFile() const;

  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
  std::string epoch;

  SqliteConnection db;

  SqliteStatement begin;
  SqliteStatement commit;
  SqliteStatement get_meta;
  SqliteStatement set_revision;
  SqliteStatement insert_fine_tune;
  SqliteStatement update_fine_tune;
  SqliteStatement insert_change;
  SqliteStatement forget_changes;
  SqliteStatement put_intent;
  SqliteStatement delete_intent;
  SqliteStatement forget_intents;
  SqliteStatement find_intent;
  SqliteStatement count_creates;

 private:
  absl::Status CreateFile(bool create);
  absl::Status OpenFile();
  absl::Status MakeTables();
  // To form 2, in which intents have their create_time as a column.
  SqliteError AddCreateTimes();
  SqliteError PrepareAll();
  absl::Status Refusal(std::string_view what) const;
  absl::Status Refusal(const SqliteError& error) const;
};

}  // namespace finetune
