#include "server/jobs/record/catalog.h"

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

// Half of the work on a second thread: it is what a start with many jobs takes longest for.
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

// The changes that the store kept. A job's version before a change is the one after its previous
// change, where that is kept too.
absl::StatusOr<std::deque<ChangePtr>> RestoreWindow(const StoreState& state, size_t limit) {
  std::deque<ChangePtr> window;
  absl::flat_hash_map<std::string, VersionPtr> latest;
  const size_t skip = state.changes.size() > limit ? state.changes.size() - limit : 0;
  for (size_t i = skip; i < state.changes.size(); ++i) {
    const StoredChange& stored = state.changes[i];
    VersionPtr& last = latest[stored.fine_tune_id];
    VersionPtr before = last;
    if (before == nullptr && !stored.before.empty()) before = ParseVersion(stored.before);
    last = ParseVersion(stored.after);
    if (last == nullptr || last->revision != stored.revision ||
        (before == nullptr && !stored.before.empty())) {
      return Unreadable("a change");
    }
    window.push_back(std::make_shared<Change>(last, std::move(before), stored.time,
                                              EncodeResumeToken({state.epoch, stored.revision})));
  }
  return window;
}

}  // namespace

size_t CatalogView::LowerBound(uint64_t first_revision) const {
  size_t low = 0;
  size_t high = size_;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (at(middle)->first_revision < first_revision) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Catalog::Catalog(Options options, Metrics& metrics)
    : options_(options),
      fine_tunes_gauge_(metrics.Gauge("finetune_gateway_fine_tunes", "Fine-tunes in the view.")),
      active_gauge_(metrics.Gauge("finetune_gateway_active_fine_tunes",
                                  "Fine-tunes in a state that is not terminal.")),
      revision_gauge_(metrics.Gauge("finetune_gateway_revision", "The view's revision.")),
      view_(std::make_shared<CatalogView>()) {}

absl::Status Catalog::Load(const StoreState& state) {
  std::vector<VersionPtr> versions = ParseAll(state.records);
  auto window = RestoreWindow(state, options_.window_changes);
  if (!window.ok()) return window.status();

  auto view = std::make_shared<CatalogView>();
  view->revision_ = state.revision;
  view->size_ = versions.size();
  std::shared_ptr<CatalogView::Chunk> chunk;
  uint64_t previous = 0;
  for (size_t i = 0; i < versions.size(); ++i) {
    if (versions[i] == nullptr || versions[i]->first_revision <= previous) {
      return Unreadable("a fine-tune");
    }
    previous = versions[i]->first_revision;
    if (versions[i]->active()) ++view->active_;
    if (i % CatalogView::kChunk == 0) {
      chunk = std::make_shared<CatalogView::Chunk>();
      chunk->reserve(std::min(CatalogView::kChunk, versions.size() - i));
      view->chunks_.push_back(chunk);
    }
    chunk->push_back(versions[i]);
  }

  epoch_ = state.epoch;
  SetGauges(*view);
  std::vector<ChangePtr> dropped;
  WriterLock lock(mu_);
  by_id_.reserve(versions.size());
  by_upstream_id_.reserve(versions.size());
  for (const VersionPtr& version : versions) Reindex(version);
  view_ = std::move(view);
  window_ = *std::move(window);
  TrimWindow(dropped);
  return absl::OkStatus();
}

void Catalog::Apply(absl::Span<const ChangePtr> changes) {
  if (changes.empty()) return;
  const ViewPtr old = view();
  CHECK(changes.front()->revision() == old->revision() + 1);
  auto next = std::make_shared<CatalogView>(*old);
  next->revision_ = changes.back()->revision();
  // Chunks that are this view's own already.
  absl::flat_hash_map<size_t, std::shared_ptr<CatalogView::Chunk>> own;
  for (const ChangePtr& change : changes) {
    const VersionPtr& after = change->after();
    const size_t index = next->LowerBound(after->first_revision);
    const bool made = index == next->size_;
    CHECK(made || next->at(index)->id == after->id);
    if (!made && next->at(index)->active()) --next->active_;
    if (after->active()) ++next->active_;

    const size_t number = index / CatalogView::kChunk;
    std::shared_ptr<CatalogView::Chunk>& chunk = own[number];
    if (chunk == nullptr) {
      chunk = std::make_shared<CatalogView::Chunk>();
      if (number == next->chunks_.size()) {
        next->chunks_.push_back(chunk);
      } else {
        // Room for one more, which a new job takes.
        chunk->reserve(next->chunks_[number]->size() + (made ? 1 : 0));
        *chunk = *next->chunks_[number];
        next->chunks_[number] = chunk;
      }
    }
    if (made) {
      chunk->push_back(after);
      ++next->size_;
    } else {
      (*chunk)[index % CatalogView::kChunk] = after;
    }
  }

  SetGauges(*next);
  std::vector<ChangePtr> dropped;
  WriterLock lock(mu_);
  for (const ChangePtr& change : changes) {
    Reindex(change->after());
    window_.push_back(change);
  }
  TrimWindow(dropped);
  view_ = std::move(next);
}

void Catalog::Reindex(const VersionPtr& version) {
  // What Segmind calls a job may change with it, and then the old name no longer leads to it.
  const auto index = [&](auto& set, std::string_view name, std::string_view old_name) {
    if (!old_name.empty() && old_name != name) {
      if (auto it = set.find(old_name); it != set.end() && (*it)->id == version->id) set.erase(it);
    }
    if (name.empty()) return;
    if (auto it = set.find(name); it != set.end()) set.erase(it);
    set.insert(version);
  };
  VersionPtr old;
  if (auto it = by_id_.find(version->id); it != by_id_.end()) {
    old = *it;
    by_id_.erase(it);
  }
  by_id_.insert(version);
  if (old != nullptr && old->active() && --active_by_creator_[old->creator] == 0)
    active_by_creator_.erase(old->creator);
  if (version->active()) ++active_by_creator_[version->creator];
  index(by_upstream_id_, version->upstream_id, old ? old->upstream_id : "");
  index(by_upstream_request_id_, version->upstream_request_id, old ? old->upstream_request_id : "");
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

int64_t Catalog::ActiveOf(std::string_view creator) const {
  ReaderLock lock(mu_);
  auto it = active_by_creator_.find(absl::string_view(creator.data(), creator.size()));
  return it == active_by_creator_.end() ? 0 : it->second;
}

absl::Time Catalog::observe_time() const {
  ReaderLock lock(mu_);
  return observe_time_;
}

void Catalog::SetObserveTime(absl::Time time) {
  WriterLock lock(mu_);
  observe_time_ = std::max(observe_time_, time);
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
