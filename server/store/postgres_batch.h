#pragma once

#include <vector>

#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// The statements that apply a batch to the record at `base`. Their number does not grow with the
// number of changes. They leave `meta`, members and eras alone.
std::vector<PgQuery> BatchQueries(const StoreBatch& batch, const StorePoint& base);

}  // namespace finetune
