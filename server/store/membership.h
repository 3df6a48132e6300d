#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace finetune {

// How long a process counts as a member without a sign of life.
inline constexpr absl::Duration kMemberLease = absl::Seconds(8);

// This process as a member of those that share the record: the name under which it owns
// submissions, and how long that name counts. Others take over what is owned under a name that no
// longer counts, so nothing may be begun under it. A record that is not shared has one member,
// without a name, that always counts. Thread-safe; owned by the store. Times are steady
// (SteadyNow).
class Membership {
 public:
  std::string id() const ABSL_LOCKS_EXCLUDED(mu_);
  // All names that this process has, or had lately.
  std::vector<std::string> all() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether this process has, or had lately, that name.
  bool IsMine(const std::string& id) const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether this process owns what is owned under that name, and will until `when`.
  bool Holds(const std::string& id, absl::Time when) const ABSL_LOCKS_EXCLUDED(mu_);

  // From now on this process has this name, which counts until the given time.
  void Join(std::string id, absl::Time until) ABSL_LOCKS_EXCLUDED(mu_);
  // Makes the name count for longer, if it is still the current one.
  void Renew(const std::string& id, absl::Time until) ABSL_LOCKS_EXCLUDED(mu_);
  // Others have taken over what this name owned, or may have.
  void Lose(const std::string& id) ABSL_LOCKS_EXCLUDED(mu_);
  bool is_lost() const ABSL_LOCKS_EXCLUDED(mu_);

  // Whether there is a connection to write through, or one can be had.
  void SetWriter(bool has, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether there has been none for a while: what only one member does is better done by another.
  bool LacksWriter(absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable Mutex mu_;
  std::string id_ ABSL_GUARDED_BY(mu_);
  // Oldest first; what was owned under one of long before was taken over long ago.
  static constexpr size_t kMostNames = 100;
  std::deque<std::string> earlier_ ABSL_GUARDED_BY(mu_);
  absl::Time until_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time without_writer_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
};

}  // namespace finetune
