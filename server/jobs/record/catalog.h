#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/jobs/record/read_numbers.h"
#include "server/jobs/record/resume_token.h"
#include "server/jobs/record/version_change.h"
#include "server/jobs/record/version_list.h"
#include "server/store/store.h"

namespace finetune {

// The orders in which a view keeps jobs.
struct ByFirstRevision {
  using Key = uint64_t;
  static Key Of(const FineTuneVersion& version) { return version.first_revision; }
};
struct ByRevision {
  using Key = uint64_t;
  static Key Of(const FineTuneVersion& version) { return version.revision; }
};
struct ByCreateTime {
  using Key = std::pair<absl::Time, uint64_t>;
  static Key Of(const FineTuneVersion& version) {
    return {version.create_time, version.first_revision};
  }
};

// All jobs at one revision. Immutable; cheap to keep, because views share everything that did
// not change between them.
class CatalogView {
 public:
  uint64_t revision() const { return revision_; }
  size_t size() const { return jobs_.size(); }
  // In the order of their first revision, which never changes: oldest first.
  const VersionPtr& at(size_t i) const { return jobs_.at(i); }
  // The index of the first job whose first_revision is at least this; size() if none.
  size_t LowerBound(uint64_t first_revision) const { return jobs_.LowerBound(first_revision); }
  // In the order in which they were created at Segmind, as far as that is known.
  const VersionList<ByCreateTime>& by_create_time() const { return by_create_time_; }
  // In the order of their latest revisions, in which watches show them.
  const VersionList<ByRevision>& by_revision() const { return by_revision_; }
  // Jobs in a state that is not terminal.
  size_t active() const { return active_; }
  // Equal for the same jobs at the same versions, in every process; almost certainly different for
  // others.
  uint64_t digest() const { return digest_; }

 private:
  friend class Catalog;
  uint64_t revision_ = 0;
  size_t active_ = 0;
  uint64_t digest_ = 0;
  VersionList<ByFirstRevision> jobs_;
  VersionList<ByCreateTime> by_create_time_;
  VersionList<ByRevision> by_revision_;
};

using ViewPtr = std::shared_ptr<const CatalogView>;

// The view in memory that serves all reads, and the window of recent changes for watchers that
// resume. It changes only by Apply, with what was committed, in revision order. Apply and Load are
// for the recorder's thread; everything else is thread-safe.
class Catalog {
 public:
  struct Options {
    // How many changes, and how old ones, are kept for resuming watchers. Both bound it.
    size_t window_changes = 10'000;
    absl::Duration window_age = absl::Hours(1);
  };

  Catalog(Options options, Metrics& metrics);

  // Fills it from the store: before anything reads it, and again when it is not known what happened
  // in between. Then everything is replaced at once, and whoever follows changes must begin anew.
  // DATA_LOSS, with nothing replaced, if a record cannot be read or they contradict each other.
  absl::Status Load(const StoreState& state);
  // Another era began.
  void SetLineage(Lineage lineage) ABSL_LOCKS_EXCLUDED(mu_);

  // Makes committed changes visible: all of them at once. They follow the view's revision without
  // a gap.
  void Apply(absl::Span<const ChangePtr> changes);

  const Options& options() const { return options_; }
  const std::string& epoch() const { return epoch_; }
  // This revision of this history, as seen in the current era.
  ResumePoint PointAt(uint64_t revision) const ABSL_LOCKS_EXCLUDED(mu_);
  // The view's.
  ResumePoint point() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether what was seen at this point led to what is here now, with nothing lost.
  bool HasPoint(const ResumePoint& point) const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether this point, which it does not have, may be one that another process has committed and
  // that has yet to arrive here.
  bool MayComeTo(const ResumePoint& point) const ABSL_LOCKS_EXCLUDED(mu_);
  ViewPtr view() const ABSL_LOCKS_EXCLUDED(mu_);
  // Null if there is none.
  VersionPtr Find(std::string_view id) const ABSL_LOCKS_EXCLUDED(mu_);
  // By either of the names that Segmind has for a job.
  VersionPtr FindUpstream(std::string_view upstream_id) const ABSL_LOCKS_EXCLUDED(mu_);

  // A job with this marker that no submission in the record made; null if there is none.
  VersionPtr FindForeignByMarker(std::string_view marker) const ABSL_LOCKS_EXCLUDED(mu_);
  // The job with that marker that a submission in the record made, or was to make.
  VersionPtr FindSubmittedByMarker(std::string_view marker) const ABSL_LOCKS_EXCLUDED(mu_);

  // This creator's jobs in a state that is not terminal.
  int64_t ActiveOf(std::string_view creator) const ABSL_LOCKS_EXCLUDED(mu_);

  // Jobs that the newest list does not show, and when the latest read that showed each began.
  using NotShown = absl::flat_hash_map<std::string, absl::Time>;

  // When the reads of Segmind began that the view includes, in steady time; InfinitePast before the
  // first. For all jobs: the read of the newest list or, if older, that of any active job which
  // this list does not show. Ask for it before the view: then the view is at least as new.
  absl::Time observe_time() const ABSL_LOCKS_EXCLUDED(mu_);
  // When the newest list began, whatever it does not show.
  absl::Time list_time() const ABSL_LOCKS_EXCLUDED(mu_);
  // For one job, which must be in the catalog.
  absl::Time ObserveTimeOf(std::string_view id) const ABSL_LOCKS_EXCLUDED(mu_);
  // A list that began at `time` is in the view. What is observed of all jobs never goes back.
  void SetObserveTime(absl::Time time, NotShown not_shown = {}) ABSL_LOCKS_EXCLUDED(mu_);
  // A read of one job alone that began at `time`.
  void SetObserveTimeOf(std::string_view id, absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);

  // How often it was filled: what was read from Segmind before the last time says nothing about
  // what is in it now.
  uint64_t loads() const { return loads_; }

  uint64_t NextRead() { return numbers_.Next(); }
  // `read` was given out already, by another process.
  void NoteRead(uint64_t read) { numbers_.Note(read); }
  // Greater than any number that a record or an intent rests on.
  ReadNumbers& numbers() { return numbers_; }

  // The changes after `revision`, oldest first; nullopt if they are no longer all kept, or if
  // `revision` is still to come.
  std::optional<std::vector<ChangePtr>> ChangesAfter(uint64_t revision,
                                                     size_t limit = SIZE_MAX) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // The window's start: changes after this revision are kept.
  uint64_t window_start() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Versions found by one of their names, without a copy of it.
  template <std::string FineTuneVersion::*kName>
  struct ByName {
    using is_transparent = void;
    static std::string_view Key(std::string_view name) { return name; }
    static std::string_view Key(const VersionPtr& version) { return (*version).*kName; }
    struct Hash {
      using is_transparent = void;
      template <typename T>
      size_t operator()(const T& value) const {
        return std::hash<std::string_view>()(Key(value));
      }
    };
    struct Eq {
      using is_transparent = void;
      template <typename T, typename U>
      bool operator()(const T& a, const U& b) const {
        return Key(a) == Key(b);
      }
    };
    using Set = absl::flat_hash_set<VersionPtr, Hash, Eq>;
  };

  absl::Time OldestOfAllLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // Null for a job that is new, or forgotten.
  void Reindex(const VersionPtr& old, const VersionPtr& version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves what is out of bounds to `dropped`, to be destroyed without the lock.
  void TrimWindow(std::vector<ChangePtr>& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetGauges(const CatalogView& view);
  absl::StatusOr<std::shared_ptr<CatalogView>> MakeView(std::vector<VersionPtr>& versions,
                                                        uint64_t revision) const;

  ByName<&FineTuneVersion::marker>::Set& MarkedLike(const FineTuneVersion& version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return version.request_id.empty() ? foreign_by_marker_ : submitted_by_marker_;
  }

  const Options options_;
  prometheus::Gauge& fine_tunes_gauge_;
  prometheus::Gauge& active_gauge_;
  prometheus::Gauge& revision_gauge_;
  prometheus::Gauge& digest_gauge_;
  // Constant after Load.
  std::string epoch_;

  mutable SharedMutex mu_;
  Lineage lineage_ ABSL_GUARDED_BY(mu_);
  ViewPtr view_ ABSL_GUARDED_BY(mu_);
  ByName<&FineTuneVersion::id>::Set by_id_ ABSL_GUARDED_BY(mu_);
  ByName<&FineTuneVersion::upstream_id>::Set by_upstream_id_ ABSL_GUARDED_BY(mu_);
  ByName<&FineTuneVersion::upstream_request_id>::Set by_upstream_request_id_ ABSL_GUARDED_BY(mu_);
  ByName<&FineTuneVersion::marker>::Set foreign_by_marker_ ABSL_GUARDED_BY(mu_);
  ByName<&FineTuneVersion::marker>::Set submitted_by_marker_ ABSL_GUARDED_BY(mu_);
  // Without those that have none.
  absl::flat_hash_map<std::string, int64_t> active_by_creator_ ABSL_GUARDED_BY(mu_);
  std::deque<ChangePtr> window_ ABSL_GUARDED_BY(mu_);
  absl::Time list_time_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Time observe_time_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  NotShown not_shown_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> loads_{0};
  ReadNumbers numbers_;  // Thread-safe itself.
};

}  // namespace finetune
