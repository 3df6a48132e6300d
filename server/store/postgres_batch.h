#pragma once

#include <vector>

#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// What a batch does to the record as it is at `base`, as statements: as many for a thousand changes
// as for one. Without what becomes of `meta`, members and eras.
std::vector<PgQuery> BatchQueries(const StoreBatch& batch, const StorePoint& base);

}  // namespace finetune
