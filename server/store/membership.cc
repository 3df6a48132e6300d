#include "server/store/membership.h"

#include <algorithm>
#include <utility>

namespace finetune {

std::string Membership::id() const {
  MutexLock lock(mu_);
  return id_;
}

std::vector<std::string> Membership::all() const {
  MutexLock lock(mu_);
  std::vector<std::string> names(earlier_.begin(), earlier_.end());
  names.push_back(id_);
  return names;
}

bool Membership::IsMine(const std::string& id) const {
  MutexLock lock(mu_);
  return id == id_ || earlier_.contains(id);
}

bool Membership::Holds(const std::string& id, absl::Time when) const {
  MutexLock lock(mu_);
  return id == id_ && when < until_;
}

void Membership::Join(std::string id, absl::Time until) {
  MutexLock lock(mu_);
  // What has no owner is nobody's.
  if (id != id_ && !id_.empty()) earlier_.insert(id_);
  id_ = std::move(id);
  until_ = until;
}

void Membership::Renew(const std::string& id, absl::Time until) {
  MutexLock lock(mu_);
  if (id == id_ && until_ != absl::InfinitePast()) until_ = std::max(until_, until);
}

void Membership::Lose(const std::string& id) {
  MutexLock lock(mu_);
  if (id == id_) until_ = absl::InfinitePast();
}

bool Membership::is_lost() const {
  MutexLock lock(mu_);
  return until_ == absl::InfinitePast();
}

}  // namespace finetune
