#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/store/ledger.h"
#include "server/store/lineage.h"
#include "server/store/record.pb.h"
#include "server/store/sqlite_database.h"

namespace finetune {

// The one row of `meta`.
struct SqliteMeta {
  std::string epoch;
  uint64_t revision = 0;
  uint64_t seq = 0;
  // The checksums of all rows of fine_tunes, intents, spending and totals, joined by exclusive or,
  // so that rows that are missing or come from another copy of the file are noticed.
  int64_t digest = 0;
  // StoreState.lost, and where the record was moved to; usually both are empty.
  std::string lost;
  std::string moved_to;

  int64_t Sum() const;
};

// The checksum that each row carries.
int64_t SumOfEra(int64_t number, const Era& era);
int64_t SumOfRecord(int64_t first_revision, std::string_view id, std::string_view record);
int64_t SumOfChange(int64_t revision, int64_t time, std::string_view id, std::string_view after,
                    std::string_view before, bool forgotten);
// The other columns are made from the intent's bytes, and need no sum.
int64_t SumOfIntent(std::string_view caller, std::string_view request_id, std::string_view intent);

int64_t SumOfSpending(const SpendingKey& key, const SpendingCount& count);
int64_t SumOfTotal(const TotalKey& key, int64_t amount);

// A row of `spending`, with its sum.
inline constexpr char kPutSpending[] =
    "INSERT OR REPLACE INTO spending VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
SqliteStatement& BindSpending(SqliteStatement& put, const SpendingKey& key,
                              const SpendingCount& count);

// The values of an intent's columns, except its key and its bytes.
struct IntentColumns {
  explicit IntentColumns(const record::Intent& intent);
  int64_t state = 0;
  int64_t create_time = 0;
  std::optional<int64_t> settle_time;
};

// The form of the tables that this version reads and writes, kept in SQLite's user_version.
inline constexpr int64_t kSqliteForm = 4;

// Makes the tables in an empty file.
SqliteError MakeSqliteTables(SqliteConnection& db, const std::string& epoch);
// Brings the tables of an earlier form to this one, in one transaction.
SqliteError UpgradeSqliteTables(SqliteConnection& db, int64_t form);

}  // namespace finetune
