#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/backoff.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/store/membership.h"
#include "server/store/pg_connection.h"
#include "server/store/postgres_session.h"
#include "server/store/store.h"

namespace finetune {

// The part of a lease that is kept for what happens between a sign of life and the first byte of a
// submission.
inline constexpr absl::Duration kLeaseMargin = absl::Seconds(1);

// A process's second connection to a database that several share, with its thread ("store-feed").
// - It notices when others have committed: a notification from them is only a wake-up, which may
// get
//   lost; a look once a second is the truth.
// - It tells the others of commits, in transactions of their own, because a notification holds a
//   lock of the whole server until its transaction ends.
// - It keeps the process's membership alive.
// - It reopens the writer's connection when that was lost, so that no writer waits for a server
// that
//   is away.
// Thread-safe; owned by the store.
class PostgresFeed {
 public:
  struct Options {
    PgTarget target;
    absl::Duration patience = absl::Seconds(5);
    absl::Duration lock_patience = absl::Milliseconds(300);
    absl::Duration poll_interval = absl::Seconds(1);
    // How long a member counts without a sign of life. Signs are four times as frequent.
    absl::Duration lease = kMemberLease;
  };

  // `membership` outlives it.
  PostgresFeed(const Options& options, Membership& membership);
  ~PostgresFeed();

  void Start();
  // Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // As Store::Follow.
  void Follow(std::function<void()> wake) ABSL_LOCKS_EXCLUDED(mu_, wake_mu_);
  // This process knows the record up to this point: nothing before it is news.
  void Take(const StorePoint& point) ABSL_LOCKS_EXCLUDED(mu_);
  // Tells the others that there is something new.
  void Announce() ABSL_LOCKS_EXCLUDED(mu_);

  // A new connection for the writer, which has lost its own. Waits for the first attempt to make
  // one; once that has failed, calls fail at once until an attempt succeeds.
  absl::StatusOr<std::unique_ptr<PostgresSession>> Reopen() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // One round; returns how long there is nothing to do after it.
  absl::Duration Turn() ABSL_LOCKS_EXCLUDED(mu_, wake_mu_);
  void OpenForWriter() ABSL_LOCKS_EXCLUDED(mu_);
  bool EnsureConnection();
  // Each is false if the connection can no longer be used.
  bool KeepAlive();
  bool SendAnnouncement() ABSL_LOCKS_EXCLUDED(mu_);
  bool Look(bool& is_new) ABSL_LOCKS_EXCLUDED(mu_);
  void Drop();
  void WakeFollower() ABSL_LOCKS_EXCLUDED(wake_mu_);
  void WakeThread();

  // Constant after construction.
  const Options options_;
  Membership& membership_;
  const int wake_fd_;

  // Feed's thread only.
  std::unique_ptr<PostgresSession> session_;
  absl::Time connect_at_ = absl::InfinitePast();
  absl::Time look_at_ = absl::InfinitePast();
  absl::Time sign_at_ = absl::InfinitePast();
  absl::Time open_at_ = absl::InfinitePast();
  Backoff connects_;
  Backoff opens_;

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool announce_ ABSL_GUARDED_BY(mu_) = false;
  bool writer_wants_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status open_failure_ ABSL_GUARDED_BY(mu_);  // Of the latest attempt; OK before the first.
  std::unique_ptr<PostgresSession> for_writer_ ABSL_GUARDED_BY(mu_);
  StorePoint taken_ ABSL_GUARDED_BY(mu_);

  // Held while `wake_` runs, so that it never runs after it was replaced.
  Mutex wake_mu_;
  std::function<void()> wake_ ABSL_GUARDED_BY(wake_mu_);

  std::unique_ptr<Thread> thread_;
};

}  // namespace finetune
