#include "server/jobs/record/catalog.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"
#include "server/base/error.h"
#include "server/base/thread.h"

namespace finetune {
namespace {

absl::Status Unreadable(std::string_view what) {
  return absl::DataLossError(absl::StrCat("the store holds ",
                                          absl::string_view(what.data(), what.size()),
                                          " that cannot be read: the file is damaged"));
}

// FNV-1a: the same in every process and build.
uint64_t DigestOf(const FineTuneVersion& version) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const char c : version.id) add(static_cast<unsigned char>(c));
  for (int shift = 0; shift < 64; shift += 8)
    add(static_cast<unsigned char>(version.revision >> shift));
  return hash;
}

// A second thread does half of the work, which is what takes longest when a gateway with many jobs
// starts.
std::vector<VersionPtr> ParseAll(const std::vector<std::string>& records) {
  std::vector<VersionPtr> versions(records.size());
  const auto parse = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) versions[i] = ParseVersion(records[i]);
  };
  const size_t half = records.size() / 2;
  Thread second("load", [&] { parse(half, records.size()); });
  parse(0, half);
  second.Join();
  return versions;
}

// Rebuilds the changes that the store kept. The version before a change is the one after the same
// job's previous change, if that is kept too.
absl::StatusOr<std::deque<ChangePtr>> RestoreWindow(const StoreState& state, size_t limit) {
  std::deque<ChangePtr> window;
  absl::flat_hash_map<std::string, VersionPtr> latest;
  const size_t skip = state.changes.size() > limit ? state.changes.size() - limit : 0;
  for (size_t i = skip; i < state.changes.size(); ++i) {
    const StoredChange& stored = state.changes[i];
    VersionPtr& last = latest[stored.fine_tune_id];
    VersionPtr before = last;
    if (before == nullptr && !stored.before.empty()) before = ParseVersion(stored.before);
    if (before == nullptr && !stored.before.empty()) return Unreadable("a change");
    if (stored.before.empty()) before = nullptr;
    ChangePtr change = ParseChange(stored, std::move(before),
                                   {state.epoch, state.lineage.current(), stored.revision});
    if (change == nullptr) return Unreadable("a change");
    last = stored.forgotten ? nullptr : change->after();
    window.push_back(std::move(change));
  }
  return window;
}

}  // namespace

Catalog::Catalog(Options options, Metrics& metrics)
    : options_(options),
      fine_tunes_gauge_(metrics.Gauge("finetune_gateway_fine_tunes", "Fine-tunes in the view.")),
      active_gauge_(metrics.Gauge("finetune_gateway_active_fine_tunes",
                                  "Fine-tunes in a state that is not terminal.")),
      revision_gauge_(metrics.Gauge("finetune_gateway_revision", "The view's revision.")),
      digest_gauge_(metrics.Gauge("finetune_gateway_view_digest",
                                  "A number made of all jobs in the view: gateways on one record "
                                  "that are at the same revision have the same.")),
      view_(std::make_shared<CatalogView>()) {}

// Sorts `versions` by time of creation.
absl::StatusOr<std::shared_ptr<CatalogView>> Catalog::MakeView(std::vector<VersionPtr>& versions,
                                                               uint64_t revision) const {
  auto view = std::make_shared<CatalogView>();
  view->revision_ = revision;
  uint64_t previous = 0;
  absl::flat_hash_set<absl::string_view> ids;
  ids.reserve(versions.size());
  VersionList<ByFirstRevision>::Editor jobs(view->jobs_);
  for (const VersionPtr& version : versions) {
    if (version == nullptr || version->first_revision <= previous ||
        version->revision < version->first_revision || version->revision > view->revision_) {
      return Unreadable("a fine-tune");
    }
    if (!ids.insert(version->id).second) return Unreadable("two fine-tunes of one name");
    previous = version->first_revision;
    if (version->active()) ++view->active_;
    view->digest_ ^= DigestOf(*version);
    jobs.Insert(version);
  }
  view->jobs_ = std::move(jobs).Take();
  std::sort(versions.begin(), versions.end(), [](const VersionPtr& a, const VersionPtr& b) {
    return ByCreateTime::Of(*a) < ByCreateTime::Of(*b);
  });
  VersionList<ByCreateTime>::Editor by_create_time(view->by_create_time_);
  for (const VersionPtr& version : versions) by_create_time.Insert(version);
  view->by_create_time_ = std::move(by_create_time).Take();
  std::sort(versions.begin(), versions.end(),
            [](const VersionPtr& a, const VersionPtr& b) { return a->revision < b->revision; });
  VersionList<ByRevision>::Editor by_revision(view->by_revision_);
  for (size_t i = 0; i < versions.size(); ++i) {
    if (i > 0 && versions[i]->revision == versions[i - 1]->revision)
      return Unreadable("two fine-tunes of one revision");
    by_revision.Insert(versions[i]);
  }
  view->by_revision_ = std::move(by_revision).Take();
  return view;
}

absl::Status Catalog::Load(const StoreState& state) {
  std::vector<VersionPtr> versions = ParseAll(state.records);
  auto window = RestoreWindow(state, options_.window_changes);
  if (!window.ok()) return window.status();
  auto view = MakeView(versions, state.point.revision);
  if (!view.ok()) return view.status();
  epoch_ = state.epoch;
  SetGauges(**view);
  // What was there before is destroyed outside the lock.
  std::vector<ChangePtr> dropped;
  ByName<&FineTuneVersion::id>::Set by_id;
  ByName<&FineTuneVersion::upstream_id>::Set by_upstream_id;
  ByName<&FineTuneVersion::upstream_request_id>::Set by_upstream_request_id;
  ByName<&FineTuneVersion::marker>::Set foreign_by_marker, submitted_by_marker;
  by_id.reserve(versions.size());
  by_upstream_id.reserve(versions.size());
  WriterLock lock(mu_);
  ++loads_;
  lineage_ = state.lineage;
  by_id_.swap(by_id);
  by_upstream_id_.swap(by_upstream_id);
  by_upstream_request_id_.swap(by_upstream_request_id);
  foreign_by_marker_.swap(foreign_by_marker);
  submitted_by_marker_.swap(submitted_by_marker);
  active_by_creator_.clear();
  for (const VersionPtr& version : versions) Reindex(nullptr, version);
  view_ = *std::move(view);
  window_.swap(*window);
  TrimWindow(dropped);
  return absl::OkStatus();
}

void Catalog::Apply(absl::Span<const ChangePtr> changes) {
  if (changes.empty()) return;
  const ViewPtr old = view();
  CHECK(changes.front()->revision() == old->revision() + 1);
  auto next = std::make_shared<CatalogView>(*old);
  next->revision_ = changes.back()->revision();
  VersionList<ByFirstRevision>::Editor jobs(old->jobs_);
  VersionList<ByCreateTime>::Editor by_create_time(old->by_create_time_);
  VersionList<ByRevision>::Editor by_revision(old->by_revision_);
  for (const ChangePtr& change : changes) {
    const VersionPtr& before = change->before();
    const VersionPtr& after = change->after();
    if (before != nullptr) next->digest_ ^= DigestOf(*before);
    if (!change->forgotten()) next->digest_ ^= DigestOf(*after);
    if (before != nullptr && before->active()) --next->active_;
    if (after->active() && !change->forgotten()) ++next->active_;
    if (change->forgotten()) {
      jobs.Erase(*before);
      by_create_time.Erase(*before);
      by_revision.Erase(*before);
    } else if (before == nullptr) {
      jobs.Insert(after);
      by_create_time.Insert(after);
      by_revision.Insert(after);
    } else {
      jobs.Replace(*before, after);
      by_create_time.Replace(*before, after);
      by_revision.Replace(*before, after);
    }
  }
  next->jobs_ = std::move(jobs).Take();
  next->by_create_time_ = std::move(by_create_time).Take();
  next->by_revision_ = std::move(by_revision).Take();

  SetGauges(*next);
  std::vector<ChangePtr> dropped;
  WriterLock lock(mu_);
  for (const ChangePtr& change : changes) {
    Reindex(change->before(), change->forgotten() ? nullptr : change->after());
    window_.push_back(change);
  }
  TrimWindow(dropped);
  view_ = std::move(next);
}

void Catalog::Reindex(const VersionPtr& old, const VersionPtr& version) {
  // Segmind's name for a job may change, and then the old name no longer leads to it.
  const auto index = [&](auto& set, std::string FineTuneVersion::*name) {
    if (old != nullptr && !(*old.*name).empty()) {
      if (auto it = set.find(*old.*name); it != set.end() && (*it)->id == old->id) set.erase(it);
    }
    if (version == nullptr || (*version.*name).empty()) return;
    if (auto it = set.find(*version.*name); it != set.end()) set.erase(it);
    set.insert(version);
  };
  index(by_id_, &FineTuneVersion::id);
  index(by_upstream_id_, &FineTuneVersion::upstream_id);
  index(by_upstream_request_id_, &FineTuneVersion::upstream_request_id);
  if (old != nullptr && old->active() && --active_by_creator_[old->creator] == 0)
    active_by_creator_.erase(old->creator);
  if (version != nullptr && version->active()) ++active_by_creator_[version->creator];
  if (version != nullptr) NoteRead(version->read);
  if (old != nullptr) {
    auto& marked = MarkedLike(*old);
    const auto it = marked.find(std::string_view(old->marker));
    if (it != marked.end() && (*it)->id == old->id) marked.erase(it);
  }
  if (version != nullptr && !version->marker.empty()) MarkedLike(*version).insert(version);
}

void Catalog::SetLineage(Lineage lineage) {
  WriterLock lock(mu_);
  lineage_ = std::move(lineage);
}

ResumePoint Catalog::PointAt(uint64_t revision) const {
  ReaderLock lock(mu_);
  return {epoch_, lineage_.current(), revision};
}

ResumePoint Catalog::point() const {
  ReaderLock lock(mu_);
  return {epoch_, lineage_.current(), view_->revision()};
}

bool Catalog::HasPoint(const ResumePoint& point) const {
  if (point.epoch != epoch_) return false;
  ReaderLock lock(mu_);
  return lineage_.HasRevision(point.era, point.revision, view_->revision());
}

bool Catalog::MayComeTo(const ResumePoint& point) const {
  if (point.epoch != epoch_) return false;
  ReaderLock lock(mu_);
  if (!lineage_.Knows(point.era)) return true;
  return point.era == lineage_.current() && point.revision > view_->revision();
}

void Catalog::TrimWindow(std::vector<ChangePtr>& dropped) {
  if (window_.empty()) return;
  const absl::Time oldest = window_.back()->time() - options_.window_age;
  while (!window_.empty() &&
         (window_.size() > options_.window_changes || window_.front()->time() < oldest)) {
    dropped.push_back(std::move(window_.front()));
    window_.pop_front();
  }
}

void Catalog::SetGauges(const CatalogView& view) {
  fine_tunes_gauge_.Set(static_cast<double>(view.size()));
  active_gauge_.Set(static_cast<double>(view.active()));
  revision_gauge_.Set(static_cast<double>(view.revision()));
  // A double holds 53 bits exactly.
  digest_gauge_.Set(static_cast<double>(view.digest() >> 11));
}

ViewPtr Catalog::view() const {
  ReaderLock lock(mu_);
  return view_;
}

VersionPtr Catalog::Find(std::string_view id) const {
  ReaderLock lock(mu_);
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : *it;
}

VersionPtr Catalog::FindUpstream(std::string_view upstream_id) const {
  if (upstream_id.empty()) return nullptr;
  ReaderLock lock(mu_);
  if (auto it = by_upstream_id_.find(upstream_id); it != by_upstream_id_.end()) return *it;
  auto it = by_upstream_request_id_.find(upstream_id);
  return it == by_upstream_request_id_.end() ? nullptr : *it;
}

VersionPtr Catalog::FindForeignByMarker(std::string_view marker) const {
  ReaderLock lock(mu_);
  const auto it = foreign_by_marker_.find(marker);
  return it == foreign_by_marker_.end() ? nullptr : *it;
}

VersionPtr Catalog::FindSubmittedByMarker(std::string_view marker) const {
  ReaderLock lock(mu_);
  const auto it = submitted_by_marker_.find(marker);
  return it == submitted_by_marker_.end() ? nullptr : *it;
}

int64_t Catalog::ActiveOf(std::string_view creator) const {
  ReaderLock lock(mu_);
  auto it = active_by_creator_.find(absl::string_view(creator.data(), creator.size()));
  return it == active_by_creator_.end() ? 0 : it->second;
}

absl::Time Catalog::observe_time() const {
  ReaderLock lock(mu_);
  return observe_time_;
}

absl::Time Catalog::list_time() const {
  ReaderLock lock(mu_);
  return list_time_;
}

absl::Time Catalog::ObserveTimeOf(std::string_view id) const {
  ReaderLock lock(mu_);
  const auto it = not_shown_.find(absl::string_view(id.data(), id.size()));
  return it == not_shown_.end() ? list_time_ : it->second;
}

// A job that has ended does not change, so nobody cares how long ago it was seen.
absl::Time Catalog::OldestOfAllLocked() const {
  absl::Time oldest = list_time_;
  for (const auto& [id, time] : not_shown_) {
    const auto version = by_id_.find(std::string_view(id));
    if (version != by_id_.end() && (*version)->active()) oldest = std::min(oldest, time);
  }
  return oldest;
}

void Catalog::SetObserveTime(absl::Time time, NotShown not_shown) {
  WriterLock lock(mu_);
  list_time_ = std::max(list_time_, time);
  not_shown_.swap(not_shown);
  observe_time_ = std::max(observe_time_, OldestOfAllLocked());
}

void Catalog::SetObserveTimeOf(std::string_view id, absl::Time time) {
  WriterLock lock(mu_);
  const auto it = not_shown_.find(absl::string_view(id.data(), id.size()));
  if (it == not_shown_.end()) return;
  it->second = std::max(it->second, time);
  observe_time_ = std::max(observe_time_, OldestOfAllLocked());
}

std::optional<std::vector<ChangePtr>> Catalog::ChangesAfter(uint64_t revision, size_t limit) const {
  ReaderLock lock(mu_);
  const uint64_t latest = view_->revision();
  if (revision > latest || latest - revision > window_.size()) return std::nullopt;
  const size_t count = latest - revision;
  const auto begin = window_.end() - static_cast<ptrdiff_t>(count);
  return std::vector<ChangePtr>(begin, begin + static_cast<ptrdiff_t>(std::min(count, limit)));
}

uint64_t Catalog::window_start() const {
  ReaderLock lock(mu_);
  return view_->revision() - window_.size();
}

}  // namespace finetune
