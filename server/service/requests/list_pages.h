#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/access/caller.h"
#include "server/base/mutex.h"
#include "server/jobs/filter/filter.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// A checked ListFineTunesRequest.
struct ListQuery {
  FilterPtr filter;  // Includes what the caller may see.
  pb::FineTuneView view = pb::FINE_TUNE_VIEW_BASIC;
  size_t page_size = 0;
  uint64_t before = UINT64_MAX;  // Jobs whose first_revision is less.
};

// Makes the pages of lists out of the jobs' ready bytes, newest job first. A page that is asked
// for again at the same revision is the same bytes, so that a thousand clients that poll one list
// cost one making. Thread-safe.
class ListPages {
 public:
  explicit ListPages(const Catalog& catalog) : catalog_(catalog) {}

  absl::StatusOr<ListQuery> Check(const pb::ListFineTunesRequest& request,
                                  const Caller& caller) const;

  // How many comparisons its page still takes: none, if it is there already.
  size_t CostOf(const ListQuery& query) ABSL_LOCKS_EXCLUDED(mu_);
  // A serialised pb::ListFineTunesResponse of the catalog as it is now.
  grpc::ByteBuffer Page(const ListQuery& query) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // All of the response but observe_time and revision.
  struct CachedPage {
    uint64_t revision = 0;
    grpc::Slice bytes;
  };
  struct CachedCount {
    uint64_t revision = 0;
    size_t count = 0;
  };

  std::string KeyOf(const ListQuery& query) const;
  std::string TokenQuery(const Filter& filter, pb::FineTuneView view) const;
  grpc::Slice MakePage(const ListQuery& query, const CatalogView& view) ABSL_LOCKS_EXCLUDED(mu_);
  size_t CountMatches(const Filter& filter, const CatalogView& view) ABSL_LOCKS_EXCLUDED(mu_);

  const Catalog& catalog_;

  Mutex mu_;
  absl::flat_hash_map<std::string, CachedPage> pages_ ABSL_GUARDED_BY(mu_);
  size_t pages_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<std::string, CachedCount> counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
