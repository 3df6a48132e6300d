#include "server/jobs/tracking/missing_jobs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// A job must be missing from this many lists before it counts as perhaps gone, and before the
// details of one that has ended are asked for.
constexpr int kMissingLists = 2;
// How often all jobs are compared with the list. A job that disappears from lists is noticed at
// once; this finds jobs that no list ever showed.
constexpr absl::Duration kLookAtAllEvery = absl::Minutes(10);
// An ended job that lists do not show does not change; it can only be deleted.
constexpr absl::Duration kAskEndedEvery = absl::Hours(1);
// Usual lengths of pages. A list of such a length, if no list was ever longer, may be only the
// first page.
constexpr size_t kPageLengths[] = {50, 100, 200, 250, 500, 1000};

bool IsPageLength(size_t total) {
  return std::find(std::begin(kPageLengths), std::end(kPageLengths), total) !=
         std::end(kPageLengths);
}

bool IsAtSegmind(const FineTuneVersion& version) {
  return !version.upstream_id.empty() && version.state != pb::FineTune::LOST;
}

}  // namespace

void MissingJobs::Begin() {
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i)
    if (IsAtSegmind(*view->at(i))) ++trusted_total_;
}

bool MissingJobs::Lacks(const RollCall& list, const FineTuneVersion& version) const {
  return IsAtSegmind(version) && !list.has(version.upstream_id) &&
         (version.upstream_request_id.empty() || !list.has(version.upstream_request_id));
}

std::string MissingJobs::DoubtOf(const RollCall& list) const {
  if (!list.more.empty()) return list.more;
  if (list.total * 2 < trusted_total_)
    return absl::StrCat("it has ", list.total, " jobs where ", trusted_total_, " were");
  if (list.start_time < list.asked) return "it is a cache's copy from before it was asked for";
  if (list.nameless > usual_nameless_)
    return absl::StrCat(list.nameless, " of its items cannot be read");
  if (IsPageLength(list.total) && longest_ <= list.total)
    return absl::StrCat("its ", list.total, " jobs may be a page");
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (!Lacks(list, version)) continue;
    const auto known = missing_.find(version.upstream_id);
    const bool is_there = known != missing_.end() && known->second.is_there;
    // A job that has ended may have been deleted; one that goes on was there a moment ago.
    if (version.active() || is_there)
      return absl::StrCat("it lacks ", version.upstream_id, ", which is there");
  }
  return "";
}

void MissingJobs::Note(const RollCall& list, bool looked_for) {
  absl::erase_if(missing_, [&](const auto& entry) {
    if (list.has(entry.first)) return true;
    const VersionPtr version = catalog_.FindUpstream(entry.first);
    return version == nullptr || version->upstream_id != entry.first || !Lacks(list, *version);
  });
  for (auto& [id, missing] : missing_) ++missing.lists;
  for (const std::string& id : list.gone) {
    const VersionPtr version = catalog_.FindUpstream(id);
    if (version == nullptr || !Lacks(list, *version)) continue;
    missing_.try_emplace(version->upstream_id,
                         Missing{.lists = 1, .since = list.start_time, .shown = last_list_});
  }
  if (list.all_new || looked_for || list.start_time - looked_at_all_ >= kLookAtAllEvery)
    FindMissing(list);
  // The entries that cannot be read may be the jobs looked for, even in the first list after a
  // start.
  if (!looked_for) usual_nameless_ = list.nameless;
  if (list.total * 2 >= trusted_total_ && list.more.empty()) trusted_total_ = list.total;
  longest_ = std::max(longest_, list.total);
  last_list_ = std::max(last_list_, list.start_time);
  NotePartial(list);
}

void MissingJobs::FindMissing(const RollCall& list) {
  looked_at_all_ = list.start_time;
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (Lacks(list, version))
      missing_.try_emplace(version.upstream_id, Missing{.lists = 1, .since = list.start_time});
  }
}

void MissingJobs::NotePartial(const RollCall& list) {
  partial_ = list.more;
  if (!partial_.empty()) return;
  size_t there = 0;
  for (const auto& [id, missing] : missing_) there += missing.is_there ? 1 : 0;
  if (there > 0) partial_ = absl::StrCat("it lacks ", there, " jobs that details show");
}

std::vector<std::string> MissingJobs::TakeDue(absl::Time now) {
  std::vector<std::string> active;
  std::vector<std::string> ended;
  for (auto& [id, missing] : missing_) {
    const VersionPtr version = catalog_.FindUpstream(id);
    const bool goes_on = version != nullptr && version->active();
    if (missing.lists < (goes_on ? 1 : kMissingLists) || missing.ask_next > now) continue;
    (goes_on ? active : ended).push_back(id);
    missing.ask_next = goes_on || !missing.is_there ? now : now + kAskEndedEvery;
  }
  active.insert(active.end(), ended.begin(), ended.end());
  return active;
}

void MissingJobs::OnFound(const std::string& upstream_id, absl::Time time) {
  const auto found = missing_.find(upstream_id);
  if (found == missing_.end()) return;
  found->second.is_there = true;
  found->second.shown = std::max(found->second.shown, time);
}

bool MissingJobs::OnUnknown(const std::string& upstream_id, absl::Time asked,
                            absl::Duration young) {
  const auto found = missing_.find(upstream_id);
  // Segmind may take a while to show a job that it has accepted; the next list asks again.
  if (found == missing_.end() || found->second.lists < kMissingLists ||
      asked - found->second.since < young)
    return false;
  missing_.erase(found);
  if (trusted_total_ > 0) --trusted_total_;
  return true;
}

bool MissingJobs::undecided() const {
  return std::any_of(missing_.begin(), missing_.end(),
                     [](const auto& entry) { return !entry.second.is_there; });
}

Catalog::NotShown MissingJobs::not_shown() const {
  Catalog::NotShown result;
  for (const auto& [upstream_id, missing] : missing_) {
    const VersionPtr version = catalog_.FindUpstream(upstream_id);
    if (version != nullptr) result.emplace(version->id, missing.shown);
  }
  return result;
}

}  // namespace finetune
