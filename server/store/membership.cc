#include "server/store/membership.h"

#include <algorithm>
#include <utility>

namespace finetune {
namespace {

// A connection that breaks is opened anew within less.
constexpr absl::Duration kWriterPatience = absl::Seconds(3);

}  // namespace

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
  return id == id_ || std::find(earlier_.begin(), earlier_.end(), id) != earlier_.end();
}

bool Membership::Holds(const std::string& id, absl::Time when) const {
  MutexLock lock(mu_);
  return id == id_ && when < until_;
}

void Membership::Join(std::string id, absl::Time until) {
  MutexLock lock(mu_);
  // What has no owner is nobody's.
  if (id != id_ && !id_.empty()) earlier_.push_back(id_);
  if (earlier_.size() > kMostNames) earlier_.pop_front();
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

void Membership::SetWriter(bool has, absl::Time now) {
  MutexLock lock(mu_);
  without_writer_since_ = has ? absl::InfiniteFuture() : std::min(without_writer_since_, now);
}

bool Membership::LacksWriter(absl::Time now) const {
  MutexLock lock(mu_);
  return now - without_writer_since_ > kWriterPatience;
}

bool Membership::is_lost() const {
  MutexLock lock(mu_);
  return until_ == absl::InfinitePast();
}

}  // namespace finetune
