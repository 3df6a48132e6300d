#pragma once

#include <optional>
#include <vector>

#include "server/store/sqlite_session.h"
#include "server/store/store.h"

namespace finetune {

// The ledger's tables in an open store file. A row whose checksum does not match makes `whole`
// false. Not thread-safe; the session outlives it.
class SqliteLedger {
 public:
  explicit SqliteLedger(SqliteSession& session) : s_(session) {}

  // Checks every row, and joins their sums into `digest`.
  SqliteError Load(int64_t& digest, bool& whole);
  // Writes what the batch changes. Call it within a transaction.
  SqliteError Write(const StoreBatch& batch, int64_t& digest);

  SqliteError FindTotals(const std::vector<TotalKey>& keys,
                         std::vector<std::optional<int64_t>>& amounts, bool& whole);
  SqliteError Read(const Store::SpendingQuery& query, SpendingRows& rows, bool& whole);

 private:
  SqliteError Add(const SpendingKey& key, const SpendingCount& change, int64_t& digest);
  SqliteError AddToTotals(const TotalChange& change, int64_t& digest);
  // The caller has taken the sum of the row before out of the digest.
  SqliteError PutTotal(const TotalKey& key, int64_t amount, int64_t& digest);
  static SqliteError Forget(SqliteStatement& statement, Quarter before, int64_t& digest);

  SqliteSession& s_;
};

}  // namespace finetune
