#include "tests/jobs/watching/watch_checker.h"

#include "server/base/clock.h"
#include "server/base/time_proto.h"
#include "server/jobs/watching/watch_pending.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {

void WatchHistory::OnCommitted(absl::Span<const ChangePtr> changes) {
  MutexLock lock(mu_);
  for (const ChangePtr& change : changes) changes_[change->revision()] = change;
  added_.NotifyAll();
}

void WatchHistory::CopyTo(std::map<uint64_t, ChangePtr>& changes, uint64_t through) {
  const absl::Time deadline = SteadyNow() + absl::Seconds(10);
  MutexLock lock(mu_);
  while (through > 0 && (changes_.empty() || changes_.rbegin()->first < through)) {
    if (!added_.WaitFor(mu_, deadline - SteadyNow())) break;
  }
  const uint64_t known = changes.empty() ? 0 : changes.rbegin()->first;
  changes.insert(changes_.upper_bound(known), changes_.end());
}

uint64_t WatchHistory::revision() const {
  MutexLock lock(mu_);
  return changes_.empty() ? 0 : changes_.rbegin()->first;
}

void WatchHistory::Observed(absl::Time time) {
  MutexLock lock(mu_);
  const uint64_t revision = changes_.empty() ? 0 : changes_.rbegin()->first;
  observed_.try_emplace(time, revision);
}

uint64_t WatchHistory::RevisionAt(absl::Time time) const {
  MutexLock lock(mu_);
  auto it = observed_.find(time);
  return it == observed_.end() ? UINT64_MAX : it->second;
}

void WatchChecker::Begin(bool resumed) {
  resumed_ = resumed;
  reset_ = false;
  snapshot_at_ = 0;
  told_.clear();
  phase_ = resumed ? Phase::kLive : Phase::kSnapshot;
  if (resumed) {
    base_ = revision_ = DecodeResumeToken(token_)->revision;
  } else {
    token_.clear();
    has_.clear();
  }
}

void WatchChecker::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

bool WatchChecker::Wants(const VersionPtr& version) const {
  if (version == nullptr || !spec_.filter->Matches(*version)) return false;
  return spec_.ids.empty() ||
         std::find(spec_.ids.begin(), spec_.ids.end(), version->id) != spec_.ids.end();
}

bool WatchChecker::Concerns(const VersionChange& change) const {
  return Wants(change.before()) || Wants(change.after());
}

std::map<std::string, uint64_t> WatchChecker::MatchingAt(uint64_t revision) {
  std::map<std::string, uint64_t> matching;
  for (const auto& [at, change] : changes_) {
    if (at > revision) break;
    if (Wants(change->after())) {
      matching[change->after()->id] = at;
    } else {
      matching.erase(change->after()->id);
    }
  }
  return matching;
}

void WatchChecker::See(const pb::WatchFineTunesResponse& message) {
  history_.CopyTo(changes_, message.revision());
  const std::string name = Summary(message);
  switch (message.event_case()) {
    case pb::WatchFineTunesResponse::kChange:
      SeeChange(message);
      break;
    case pb::WatchFineTunesResponse::kSynced:
      if (phase_ != Phase::kSnapshot) Fail(name + ": there was no snapshot");
      if (message.revision() < snapshot_at_) Fail(name + ": older than its snapshot");
      phase_ = Phase::kLive;
      CheckToken(message);
      base_ = revision_ = message.revision();
      told_.clear();
      // Who skips the snapshot knows the jobs from elsewhere.
      if (spec_.skip_snapshot && !reset_) has_ = MatchingAt(base_);
      CheckInSync(base_);
      break;
    case pb::WatchFineTunesResponse::kHeartbeat:
      if (phase_ != Phase::kLive) Fail(name + ": amid a snapshot");
      if (message.revision() < revision_) Fail(name + ": goes back");
      CheckToken(message);
      revision_ = message.revision();
      CheckInSync(revision_);
      if (message.heartbeat().has_observe_time() &&
          history_.RevisionAt(FromProto(message.heartbeat().observe_time())) > revision_) {
        Fail(name + ": tells of a read of Segmind whose changes it does not cover");
      }
      break;
    case pb::WatchFineTunesResponse::kRestart:
      if (spec_.fail_on_gap) Fail(name + ": the client asked to fail");
      if (!message.resume_token().empty()) Fail(name + ": has a token");
      ++resets_[message.restart().reason()];
      reset_ = true;
      phase_ = Phase::kSnapshot;
      snapshot_at_ = 0;
      token_.clear();
      has_.clear();
      break;
    default:
      Fail("a message of no kind");
  }
}

void WatchChecker::CheckToken(const pb::WatchFineTunesResponse& message) {
  auto point = DecodeResumeToken(message.resume_token());
  if (!point.ok() || point->revision != message.revision()) {
    Fail(Summary(message) + ": has not the token of its revision");
    return;
  }
  token_ = message.resume_token();
}

void WatchChecker::SeeChange(const pb::WatchFineTunesResponse& message) {
  const std::string name = Summary(message);
  const auto it = changes_.find(message.revision());
  if (it == changes_.end() || it->second->after()->id != IdOfChange(message)) {
    return Fail(name + ": there is no such change");
  }
  const VersionChange& change = *it->second;
  const pb::FineTune& job = message.change().fine_tune();
  if (job.revision() != message.revision() || job.state() != change.after()->state) {
    return Fail(name + ": is not the job as it was then");
  }
  if ((job.transitions_size() > 0) != (spec_.view == pb::FINE_TUNE_VIEW_FULL)) {
    return Fail(name + ": is not the view that was asked for");
  }
  if (message.change().type() == pb::Change::SNAPSHOT) {
    if (!message.resume_token().empty()) Fail(name + ": has a token");
    return SeeSnapshot(*change.after());
  }
  CheckToken(message);
  SeeLive(change, message.change().type());
}

void WatchChecker::SeeSnapshot(const FineTuneVersion& version) {
  const std::string name = absl::StrCat("snapshot of ", version.id, "@", version.revision);
  if (phase_ != Phase::kSnapshot) Fail(name + ": outside a snapshot");
  if (version.revision <= snapshot_at_) Fail(name + ": out of order");
  snapshot_at_ = version.revision;
  if (!has_.emplace(version.id, version.revision).second) Fail(name + ": twice");
}

void WatchChecker::SeeLive(const VersionChange& change, pb::Change::Type type) {
  const uint64_t revision = change.revision();
  const std::string& id = change.after()->id;
  const std::string name = absl::StrCat(pb::Change::Type_Name(type), " ", id, "@", revision);
  if (phase_ != Phase::kLive) Fail(name + ": amid a snapshot");
  if (revision <= revision_) Fail(name + ": out of order, or twice");
  if (!Concerns(change)) Fail(name + ": does not concern the client");
  if (spec_.every) {
    for (auto it = changes_.upper_bound(revision_); it->first < revision; ++it) {
      if (Concerns(*it->second)) Fail(absl::StrCat(name, ": ", it->first, " was left out"));
    }
    const WatchMatch match{Wants(change.before()), Wants(change.after())};
    if (type != TypeOf(change, match)) Fail(name + ": of the wrong type");
  }
  const bool has = has_.contains(id);
  // What a client had before it resumed, it may have had only in part.
  const bool may_have = resumed_ && !reset_ && !spec_.every && !told_.contains(id);
  switch (type) {
    case pb::Change::CREATED:
      if (has || !Wants(change.after()) || change.after()->first_revision <= base_) {
        Fail(name + ": is not new");
      }
      has_[id] = revision;
      break;
    case pb::Change::UPDATED:
      if (!Wants(change.after())) Fail(name + ": does not match");
      if (change.before() == nullptr) Fail(name + ": is new");
      has_[id] = revision;
      break;
    case pb::Change::LEFT_FILTER:
      if (Wants(change.after())) Fail(name + ": matches");
      if (!has && !may_have) Fail(name + ": the client never had it");
      has_.erase(id);
      break;
    default:
      Fail(name + ": of the wrong type");
  }
  told_.insert(id);
  revision_ = revision;
  if (spec_.every) {
    CheckInSync(revision);
  } else {
    CheckMayComeNow(revision, name);
  }
}

// All jobs are as they were at `revision`, but for those that changed again later and wait.
void WatchChecker::CheckMayComeNow(uint64_t revision, const std::string& name) {
  const auto matching = MatchingAt(revision);
  std::set<std::string> later;
  for (auto it = changes_.upper_bound(revision); it != changes_.end(); ++it) {
    if (Concerns(*it->second)) later.insert(it->second->after()->id);
  }
  for (const auto& [id, at] : matching) {
    auto has = has_.find(id);
    if ((has == has_.end() || has->second != at) && !later.contains(id)) {
      Fail(absl::StrCat(name, ": came before ", id, "@", at));
    }
  }
  for (const auto& [id, at] : has_) {
    if (!matching.contains(id) && !later.contains(id)) {
      Fail(absl::StrCat(name, ": came before ", id, " left"));
    }
  }
}

void WatchChecker::CheckInSync(uint64_t revision) {
  const auto matching = MatchingAt(revision);
  if (has_ == matching) return;
  std::string what = absl::StrCat("told of ", revision, " too early:");
  for (const auto& [id, at] : matching) {
    auto has = has_.find(id);
    if (has == has_.end()) absl::StrAppend(&what, " lacks ", id, "@", at);
    if (has != has_.end() && has->second != at) {
      absl::StrAppend(&what, " has ", id, "@", has->second, " for ", at);
    }
  }
  for (const auto& [id, at] : has_) {
    if (!matching.contains(id)) absl::StrAppend(&what, " still has ", id, "@", at);
  }
  Fail(what);
}

void WatchChecker::End() {
  history_.CopyTo(changes_, 0);
  if (phase_ != Phase::kLive) Fail("never synced");
  const uint64_t revision = history_.revision();
  CheckInSync(revision);
}

}  // namespace finetune
