#include "server/service/requests/list_pages.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "server/base/status_macros.h"
#include "server/service/calls/wire_bytes.h"
#include "server/service/requests/page_token.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

constexpr size_t kDefaultPageSize = 50;
constexpr size_t kMaxPageSize = 1000;
// Clients refuse messages over 4 MB unless told otherwise, so a page of long jobs has fewer of
// them.
constexpr size_t kMaxPageBytes = size_t{3} << 20;
// A page that costs less than this, in comparisons, is made on the spot: looking whether it is
// cached would gain nothing.
constexpr size_t kLeastCost = 2'000;
// The cost, in comparisons, of finding a job's place in an order.
constexpr size_t kSortCost = 5;
constexpr size_t kMaxCachedBytes = size_t{32} << 20;
constexpr size_t kMaxCachedPages = 256;
constexpr size_t kMaxCachedCounts = 256;

using Response = pb::ListFineTunesResponse;

}  // namespace

std::string ListPages::TokenQuery(const ListQuery& query) {
  return absl::StrCat(static_cast<int>(query.view), "\n", query.order.key(), "\n",
                      query.filter->key());
}

absl::StatusOr<ListQuery> ListPages::Check(const pb::ListFineTunesRequest& request,
                                           const Caller& caller) const {
  Violations violations;
  if (request.page_size() < 0) violations.Add("page_size", "must not be negative");
  if (!pb::FineTuneView_IsValid(request.view())) violations.Add("view", "is not a known view");
  auto order = ListOrder::Parse(request.order_by());
  if (!order.ok()) violations.Add("order_by", std::string(order.status().message()));
  RETURN_IF_ERROR(violations.ToStatus());
  ListQuery query;
  query.order = *std::move(order);
  ASSIGN_OR_RETURN(query.filter, Filter::Parse(request.filter()));
  if (!caller.sees_all) query.filter = Filter::WithCreator(query.filter, caller.identity);
  query.view = request.view() == pb::FINE_TUNE_VIEW_FULL ? pb::FINE_TUNE_VIEW_FULL
                                                         : pb::FINE_TUNE_VIEW_BASIC;
  const auto asked = static_cast<size_t>(request.page_size());
  query.page_size = asked == 0 ? kDefaultPageSize : std::min(asked, kMaxPageSize);
  if (!request.page_token().empty()) {
    ASSIGN_OR_RETURN(query.after,
                     DecodePageToken(catalog_.epoch(), TokenQuery(query), request.page_token()));
  }
  return query;
}

std::string ListPages::KeyOf(const ListQuery& query) const {
  return absl::StrCat(query.page_size, "/", query.after, "/", TokenQuery(query));
}

size_t ListPages::CostOf(const ListQuery& query) {
  const ViewPtr view = catalog_.view();
  // A job that is put on a page costs about as much as ten comparisons.
  const size_t a_job = query.filter->comparisons() + (query.order.is_kept() ? 0 : kSortCost);
  const size_t cost = view->size() * a_job + std::min(query.page_size, view->size()) * 10;
  if (cost < kLeastCost) return 0;
  const std::string key = KeyOf(query);
  MutexLock lock(mu_);
  const auto found = pages_.find(key);
  const bool is_there = found != pages_.end() && found->second.revision == view->revision();
  return is_there ? 0 : cost;
}

grpc::ByteBuffer ListPages::Page(const ListQuery& query, LongWork::Piece& work) {
  // Read before the view, so that the view is at least as new.
  const absl::Time observed = catalog_.observe_time();
  const ViewPtr view = catalog_.view();
  const std::string key = KeyOf(query);
  grpc::Slice page;
  {
    MutexLock lock(mu_);
    const auto found = pages_.find(key);
    if (found != pages_.end() && found->second.revision == view->revision())
      page = found->second.bytes;
  }
  if (page.size() == 0) {
    page = MakePage(query, *view, work);
    Pages dropped;  // After the lock: it may be many megabytes.
    MutexLock lock(mu_);
    if (pages_bytes_ + page.size() > kMaxCachedBytes || pages_.size() >= kMaxCachedPages) {
      pages_.swap(dropped);
      pages_bytes_ = 0;
    }
    CachedPage& cached = pages_[key];
    pages_bytes_ += page.size() - cached.bytes.size();
    cached = {view->revision(), page};
  }
  std::string tail;
  if (observed != absl::InfinitePast())
    AppendTimestampField(tail, Response::kObserveTimeFieldNumber, clock_.ToWall(observed));
  AppendVarintField(tail, Response::kRevisionFieldNumber, view->revision());
  const grpc::Slice slices[] = {page, grpc::Slice(tail)};
  return grpc::ByteBuffer(slices, 2);
}

std::vector<const FineTuneVersion*> ListPages::JobsOf(const ListQuery& query,
                                                      const CatalogView& view,
                                                      LongWork::Piece& work) const {
  const ListOrder& order = query.order;
  const size_t step = 1 + query.filter->comparisons();
  const auto after = query.after.empty() ? std::nullopt : order.VersionAt(query.after);
  const size_t wanted = query.page_size + 1;
  std::vector<const FineTuneVersion*> jobs;
  const auto& by_create_time = view.by_create_time();
  if (!order.is_kept()) {
    by_create_time.Ascend(0, [&](const FineTuneVersion& job) {
      work.Step(step);
      if (query.filter->Matches(job) && (!after || order.Before(*after, job))) jobs.push_back(&job);
      return true;
    });
    const auto end = jobs.begin() + static_cast<ptrdiff_t>(std::min(wanted, jobs.size()));
    std::partial_sort(jobs.begin(), end, jobs.end(),
                      [&](const auto* a, const auto* b) { return order.Before(*a, *b); });
    jobs.erase(end, jobs.end());
    return jobs;
  }
  const auto take = [&](const FineTuneVersion& job) {
    work.Step(step);
    if (query.filter->Matches(job)) jobs.push_back(&job);
    return jobs.size() < wanted;
  };
  if (order.descending()) {
    by_create_time.Descend(
        after ? by_create_time.LowerBound(ByCreateTime::Of(*after)) : by_create_time.size(), take);
  } else {
    ByCreateTime::Key next;
    if (after) next = {after->create_time, after->first_revision + 1};
    by_create_time.Ascend(after ? by_create_time.LowerBound(next) : 0, take);
  }
  return jobs;
}

grpc::Slice ListPages::MakePage(const ListQuery& query, const CatalogView& view,
                                LongWork::Piece& work) {
  std::vector<const FineTuneVersion*> jobs = JobsOf(query, view, work);
  constexpr size_t kFraming = 8;
  size_t bytes = 0;
  size_t count = 0;
  while (count < std::min(jobs.size(), query.page_size)) {
    const size_t size = jobs[count]->Bytes(query.view).size() + kFraming;
    if (count > 0 && bytes + size > kMaxPageBytes) break;
    bytes += size;
    ++count;
  }
  const bool more = count < jobs.size();
  jobs.resize(count);
  std::string out;
  out.reserve(bytes + 128);
  for (const FineTuneVersion* job : jobs) {
    const grpc::Slice& ready = job->Bytes(query.view);
    AppendLengthPrefix(out, Response::kFineTunesFieldNumber, ready.size());
    out.append(reinterpret_cast<const char*>(ready.begin()), ready.size());
  }
  if (more) {
    const std::string token =
        EncodePageToken(catalog_.epoch(), TokenQuery(query), query.order.PlaceOf(*jobs.back()));
    AppendLengthPrefix(out, Response::kNextPageTokenFieldNumber, token.size());
    out += token;
  }
  AppendVarintField(out, Response::kTotalSizeFieldNumber, CountMatches(*query.filter, view, work));
  return grpc::Slice(out);
}

size_t ListPages::CountMatches(const Filter& filter, const CatalogView& view,
                               LongWork::Piece& work) {
  if (filter.matches_all()) return view.size();
  {
    MutexLock lock(mu_);
    const auto found = counts_.find(filter.key());
    if (found != counts_.end() && found->second.revision == view.revision())
      return found->second.count;
  }
  const size_t step = 1 + filter.comparisons();
  size_t count = 0;
  view.by_create_time().Ascend(0, [&](const FineTuneVersion& job) {
    work.Step(step);
    count += filter.Matches(job) ? 1 : 0;
    return true;
  });
  MutexLock lock(mu_);
  if (counts_.size() >= kMaxCachedCounts) counts_.clear();
  counts_[filter.key()] = {view.revision(), count};
  return count;
}

}  // namespace finetune
