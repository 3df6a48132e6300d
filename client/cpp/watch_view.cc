#include "client/cpp/watch_view.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace finetune::inline client {
namespace {

using Kind = WatchEvent::Kind;

Kind KindOf(pb::Change::Type type) {
  switch (type) {
    case pb::Change::SNAPSHOT:
      return Kind::kSnapshot;
    case pb::Change::CREATED:
      return Kind::kCreated;
    case pb::Change::LEFT_FILTER:
      return Kind::kLeft;
    default:
      return Kind::kUpdated;
  }
}

WatchEvent JobEvent(Kind kind, WatchView::Job job) {
  WatchEvent event;
  event.kind = kind;
  event.revision = job->revision();
  event.fine_tune = std::move(job);
  return event;
}

bool OlderFirst(const WatchView::Job& a, const WatchView::Job& b) {
  return a->revision() < b->revision();
}

}  // namespace

void WatchView::StartAfresh() {
  if (!ever_synced_ && known_.empty()) return;
  if (synced_) {
    WatchEvent event;
    event.kind = Kind::kReset;
    event.reset_reason = pb::Restart::OTHER_HISTORY;
    ApplyReset(std::move(event));
    return;
  }
  collected_.emplace();
}

void WatchView::Apply(pb::WatchFineTunesResponse& response) {
  WatchEvent event;
  event.revision = response.revision();
  event.resume_token = response.resume_token();
  switch (response.event_case()) {
    case pb::WatchFineTunesResponse::kChange: {
      pb::Change& change = *response.mutable_change();
      event.kind = KindOf(change.type());
      event.fine_tune = std::make_shared<pb::FineTune>(std::move(*change.mutable_fine_tune()));
      ApplyChange(std::move(event), change.type());
      break;
    }
    case pb::WatchFineTunesResponse::kSynced:
      event.kind = Kind::kSynced;
      ApplySynced(std::move(event));
      break;
    case pb::WatchFineTunesResponse::kRestart:
      event.kind = Kind::kReset;
      event.reset_reason = response.restart().reason();
      ApplyReset(std::move(event));
      break;
    default:
      // A heartbeat, or an event of a newer server: both say that all up to the token was sent.
      if (!synced_ && !collected_ && !event.resume_token.empty()) {
        // After a resume it is as good as SYNCED.
        event.kind = Kind::kSynced;
        ApplySynced(std::move(event));
        break;
      }
      event.kind = Kind::kHeartbeat;
      TellAll(event);
      break;
  }
}

void WatchView::ApplyChange(WatchEvent event, pb::Change::Type type) {
  const std::string& name = event.fine_tune->name();
  if (collected_) {
    if (type == pb::Change::LEFT_FILTER) {
      collected_->erase(name);
    } else {
      (*collected_)[name] = event.fine_tune;
    }
    return;
  }
  if (type == pb::Change::LEFT_FILTER) {
    if (known_.erase(name) > 0 || !complete_) TellJob(event);
    return;
  }
  Job& known = known_[name];
  const uint64_t revision = event.fine_tune->revision();
  // A repetition: told already, or outdated by what was.
  if (known != nullptr && revision != 0 && revision <= known->revision()) return;
  known = event.fine_tune;
  TellJob(event);
}

void WatchView::ApplyReset(WatchEvent event) {
  collected_.emplace();
  if (event.reset_reason != pb::Restart::EXPIRED && event.reset_reason != pb::Restart::TOO_SLOW) {
    same_history_ = false;
  }
  synced_ = false;
  // What comes with a reset is no place to resume from.
  event.resume_token.clear();
  TellAll(event);
}

void WatchView::ApplySynced(WatchEvent event) {
  if (collected_) PassOnDifferences();
  synced_ = true;
  ever_synced_ = true;
  TellAll(event);
}

void WatchView::PassOnDifferences() {
  absl::flat_hash_map<std::string, Job> before = std::move(known_);
  known_ = *std::move(collected_);
  collected_.reset();
  std::vector<WatchEvent> events;
  for (const auto& [name, job] : before) {
    if (!known_.contains(name)) events.push_back(JobEvent(Kind::kLeft, job));
  }
  const Kind unseen = complete_ && ever_synced_ ? Kind::kCreated : Kind::kSnapshot;
  for (const auto& [name, job] : known_) {
    const auto old = before.find(name);
    if (old == before.end()) {
      events.push_back(JobEvent(unseen, job));
      continue;
    }
    const bool same = same_history_ && job->revision() != 0
                          ? job->revision() == old->second->revision()
                          : google::protobuf::util::MessageDifferencer::Equals(*job, *old->second);
    if (!same) events.push_back(JobEvent(ever_synced_ ? Kind::kUpdated : Kind::kSnapshot, job));
  }
  std::sort(events.begin(), events.end(), [](const WatchEvent& a, const WatchEvent& b) {
    return std::pair(a.kind != Kind::kLeft, a.revision) <
           std::pair(b.kind != Kind::kLeft, b.revision);
  });
  same_history_ = true;
  for (const WatchEvent& event : events) TellJob(event);
}

void WatchView::Add(std::shared_ptr<Subscriber> subscriber) {
  WatchEvent event;
  if (ended_) {
    event.kind = Kind::kEnded;
    event.status = *ended_;
    Call(*subscriber, event);
    return;
  }
  std::vector<Job> jobs;
  if (subscriber->options.names.empty()) {
    for (const auto& [name, job] : known_) jobs.push_back(job);
    to_all_.push_back(subscriber);
  }
  for (const std::string& name : subscriber->options.names) {
    if (const auto job = known_.find(name); job != known_.end()) jobs.push_back(job->second);
    to_name_[name].push_back(subscriber);
  }
  std::sort(jobs.begin(), jobs.end(), OlderFirst);
  for (const Job& job : jobs) TellJob(*subscriber, JobEvent(Kind::kSnapshot, job));
  if (!synced_) return;
  event.kind = Kind::kSynced;
  subscriber->synced = true;
  Call(*subscriber, event);
}

void WatchView::TellJob(const WatchEvent& event) {
  for (const auto& subscriber : to_all_) TellJob(*subscriber, event);
  const auto named = to_name_.find(event.fine_tune->name());
  if (named == to_name_.end()) return;
  for (const auto& subscriber : named->second) TellJob(*subscriber, event);
}

void WatchView::TellJob(Subscriber& subscriber, const WatchEvent& event) {
  if (!Enter(subscriber)) return;
  if (!subscriber.options.filter) {
    subscriber.callback(event);
  } else if (event.kind != Kind::kLeft && subscriber.options.filter(*event.fine_tune)) {
    subscriber.matched.insert(event.fine_tune->name());
    subscriber.callback(event);
  } else if (subscriber.matched.erase(event.fine_tune->name()) != 0) {
    WatchEvent left = event;
    left.kind = Kind::kLeft;
    subscriber.callback(left);
  }
  Leave(subscriber);
}

void WatchView::TellAll(const WatchEvent& event) {
  const auto tell = [&](Subscriber& subscriber) {
    if (event.kind == Kind::kHeartbeat && !subscriber.options.heartbeats) return;
    if (event.kind == Kind::kSynced && std::exchange(subscriber.synced, true)) return;
    // A reset before the first kSynced changes nothing for the subscriber.
    if (event.kind == Kind::kReset && !std::exchange(subscriber.synced, false)) return;
    Call(subscriber, event);
  };
  for (const auto& subscriber : to_all_) tell(*subscriber);
  for (const auto& [name, subscribers] : to_name_) {
    for (const auto& subscriber : subscribers) {
      // Once, however many names it has.
      if (*subscriber->options.names.begin() == name) tell(*subscriber);
    }
  }
}

void WatchView::Call(Subscriber& subscriber, const WatchEvent& event) {
  if (!Enter(subscriber)) return;
  subscriber.callback(event);
  Leave(subscriber);
}

bool WatchView::Enter(Subscriber& subscriber) {
  ClientLock lock(mu_);
  if (subscriber.removed) return false;
  called_ = &subscriber;
  caller_ = std::this_thread::get_id();
  return true;
}

void WatchView::Leave(Subscriber& subscriber) {
  ClientLock lock(mu_);
  called_ = nullptr;
  if (subscriber.removed) call_done_.NotifyAll();
}

void WatchView::Remove(const std::shared_ptr<Subscriber>& subscriber) {
  ClientLock lock(mu_);
  subscriber->removed = true;
  while (called_ == subscriber.get() && caller_ != std::this_thread::get_id()) call_done_.Wait(mu_);
}

void WatchView::Forget() {
  known_.clear();
  collected_.reset();
  synced_ = false;
  ever_synced_ = false;
  same_history_ = true;
}

void WatchView::Prune() {
  ClientLock lock(mu_);
  const auto prune = [](Subscribers& subscribers) {
    std::erase_if(subscribers, [](const auto& subscriber) { return subscriber->removed; });
  };
  prune(to_all_);
  for (auto entry = to_name_.begin(); entry != to_name_.end();) {
    const auto current = entry++;
    prune(current->second);
    if (current->second.empty()) to_name_.erase(current);
  }
}

void WatchView::End(absl::Status status) {
  WatchEvent event;
  event.kind = Kind::kEnded;
  event.status = status;
  ended_ = std::move(status);
  TellAll(event);
  to_all_.clear();
  to_name_.clear();
}

}  // namespace finetune::inline client
