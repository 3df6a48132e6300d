#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/access/caller.h"
#include "server/base/clock.h"
#include "server/base/long_work.h"
#include "server/base/mutex.h"
#include "server/jobs/filter/filter.h"
#include "server/jobs/record/catalog.h"
#include "server/service/requests/list_order.h"

namespace finetune {

// A checked ListFineTunesRequest.
struct ListQuery {
  FilterPtr filter;  // Includes what the caller may see.
  pb::FineTuneView view = pb::FINE_TUNE_VIEW_BASIC;
  ListOrder order;
  size_t page_size = 0;
  // The place that the page begins after; empty for the first page.
  std::string after;
};

// Makes the pages of lists from the jobs' ready bytes. A page that is asked for again at the same
// revision is the same bytes, so that a thousand clients that poll one list cost making it once.
// Thread-safe.
class ListPages {
 public:
  ListPages(const Catalog& catalog, Clock& clock) : catalog_(catalog), clock_(clock) {}

  absl::StatusOr<ListQuery> Check(const pb::ListFineTunesRequest& request,
                                  const Caller& caller) const;

  // How many comparisons its page still takes: none if it was made already.
  size_t CostOf(const ListQuery& query) ABSL_LOCKS_EXCLUDED(mu_);
  // A serialised pb::ListFineTunesResponse of the catalog as it is now, made as part of `work`.
  grpc::ByteBuffer Page(const ListQuery& query, LongWork::Piece& work) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // All of the response but observe_time and revision.
  struct CachedPage {
    uint64_t revision = 0;
    grpc::Slice bytes;
  };
  using Pages = absl::flat_hash_map<std::string, CachedPage>;
  struct CachedCount {
    uint64_t revision = 0;
    size_t count = 0;
  };

  std::string KeyOf(const ListQuery& query) const;
  static std::string TokenQuery(const ListQuery& query);
  // The jobs of a page, and one more if there is one.
  std::vector<const FineTuneVersion*> JobsOf(const ListQuery& query, const CatalogView& view,
                                             LongWork::Piece& work) const;
  grpc::Slice MakePage(const ListQuery& query, const CatalogView& view, LongWork::Piece& work)
      ABSL_LOCKS_EXCLUDED(mu_);
  size_t CountMatches(const Filter& filter, const CatalogView& view, LongWork::Piece& work)
      ABSL_LOCKS_EXCLUDED(mu_);

  const Catalog& catalog_;
  Clock& clock_;

  Mutex mu_;
  Pages pages_ ABSL_GUARDED_BY(mu_);
  size_t pages_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<std::string, CachedCount> counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
