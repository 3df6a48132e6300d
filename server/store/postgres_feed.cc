#include "server/store/postgres_feed.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/store/postgres_now.h"

namespace finetune {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
void WaitForEvent(int fd, absl::Time deadline) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  const absl::Duration left = absl::Ceil(deadline - SteadyNow(), absl::Milliseconds(1));
  poll(&waiting, 1,
       static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(left), 0, 60'000)));
}

}  // namespace

PostgresFeed::PostgresFeed(const Options& options, Membership& membership)
    : options_(options),
      membership_(membership),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      connects_(kFirstPause, kLongestPause),
      opens_(kFirstPause, kLongestPause) {}

PostgresFeed::~PostgresFeed() {
  Stop();
  close(wake_fd_);
}

void PostgresFeed::Start() {
  thread_ = std::make_unique<Thread>("store-feed", [this] { Run(); });
}

void PostgresFeed::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  WakeThread();
  if (thread_ != nullptr) thread_->Join();
  thread_ = nullptr;
}

void PostgresFeed::WakeThread() { (void)eventfd_write(wake_fd_, 1); }

void PostgresFeed::Follow(std::function<void()> wake) {
  MutexLock lock(wake_mu_);
  wake_ = std::move(wake);
}

void PostgresFeed::WakeFollower() {
  MutexLock lock(wake_mu_);
  if (wake_) wake_();
}

void PostgresFeed::Take(const StorePoint& point) {
  MutexLock lock(mu_);
  taken_ = point;
}

void PostgresFeed::Announce() {
  {
    MutexLock lock(mu_);
    announce_ = true;
  }
  WakeThread();
}

absl::StatusOr<std::unique_ptr<PostgresSession>> PostgresFeed::Reopen() {
  const absl::Time until = SteadyNow() + options_.patience;
  MutexLock lock(mu_);
  if (!std::exchange(writer_wants_, true)) {
    open_failure_ = absl::OkStatus();
    WakeThread();
  }
  while (for_writer_ == nullptr && open_failure_.ok() && !stopping_ && SteadyNow() < until)
    changed_.WaitFor(mu_, until - SteadyNow());
  if (for_writer_ == nullptr) {
    return open_failure_.ok() ? absl::UnavailableError("it does not answer") : open_failure_;
  }
  writer_wants_ = false;
  return std::move(for_writer_);
}

void PostgresFeed::Run() {
  while (true) {
    {
      MutexLock lock(mu_);
      if (stopping_) return;
    }
    const absl::Time until = SteadyNow() + Turn();
    bool notified = false;
    if (session_ != nullptr) {
      std::vector<std::string> from;
      if (!session_->connection().Wait(wake_fd_, until, from).ok()) Drop();
      const std::string me = membership_.id();
      notified = std::any_of(from.begin(), from.end(),
                             [&](const std::string& member) { return member != me; });
    } else {
      WaitForEvent(wake_fd_, until);
    }
    eventfd_t ignored = 0;
    (void)eventfd_read(wake_fd_, &ignored);
    if (notified) WakeFollower();
  }
}

absl::Duration PostgresFeed::Turn() {
  OpenForWriter();
  if (EnsureConnection()) {
    bool is_new = false;
    if (!KeepAlive() || !SendAnnouncement() || !Look(is_new)) Drop();
    if (is_new) WakeFollower();
  }
  absl::Time next = session_ == nullptr ? connect_at_ : std::min(look_at_, sign_at_);
  MutexLock lock(mu_);
  if (writer_wants_ && for_writer_ == nullptr) next = std::min(next, open_at_);
  return std::max(absl::ZeroDuration(), next - SteadyNow());
}

void PostgresFeed::OpenForWriter() {
  {
    MutexLock lock(mu_);
    if (!writer_wants_ || for_writer_ != nullptr || stopping_) return;
    // Only the first attempt is made at once.
    if (!open_failure_.ok() && SteadyNow() < open_at_) return;
  }
  auto opened = PostgresSession::Open(options_.target, PostgresSession::Use::kShared,
                                      SteadyNow() + options_.patience, options_.lock_patience);
  membership_.SetWriter(opened.ok(), SteadyNow());
  {
    MutexLock lock(mu_);
    open_failure_ = opened.status();
    if (opened.ok()) {
      for_writer_ = *std::move(opened);
      opens_.Reset();
    } else {
      open_at_ = SteadyNow() + opens_.Next();
    }
    changed_.NotifyAll();
    if (for_writer_ == nullptr) return;
  }
  // The follower then asks for what it has missed.
  WakeFollower();
}

bool PostgresFeed::EnsureConnection() {
  if (session_ != nullptr) return true;
  if (SteadyNow() < connect_at_) return false;
  const absl::Time deadline = SteadyNow() + options_.patience;
  auto opened = PostgresSession::OpenBeside(options_.target, deadline);
  if (opened.ok()) {
    std::vector<PgRows> rows;
    session_ = *std::move(opened);
    // A notification says nothing that is not in the tables, so it need not reach the disk.
    if (session_->connection()
            .Run({{"SET synchronous_commit = off"},
                  {"SET statement_timeout = '4s'"},
                  {"LISTEN finetune_commits"}},
                 deadline, rows)
            .ok()) {
      connects_.Reset();
      look_at_ = sign_at_ = absl::InfinitePast();
      return true;
    }
  }
  Drop();
  return false;
}

void PostgresFeed::Drop() {
  session_ = nullptr;
  connect_at_ = SteadyNow() + connects_.Next();
}

bool PostgresFeed::KeepAlive() {
  const absl::Time now = SteadyNow();
  const std::string id = membership_.id();
  if (id.empty() || now < sign_at_ || membership_.is_lost()) return true;
  sign_at_ = now + options_.lease / 4;
  std::vector<PgRows> rows;
  const PgError error = session_->connection().Run(
      {{"UPDATE finetune.members SET expires = " PG_NOW
        " + $1::bigint WHERE id = $2::text AND expires > 0 RETURNING id",
        {PgValue::Number(absl::ToInt64Nanoseconds(options_.lease)), PgValue::Text(id)}}},
      now + options_.patience, rows);
  if (!error.ok()) return !session_->connection().broken();
  if (rows[0].size() == 1) {
    // Counted from before the query was sent.
    membership_.Renew(id, now + options_.lease - kLeaseMargin);
  } else {
    membership_.Lose(id);
    WakeFollower();
  }
  return true;
}

bool PostgresFeed::SendAnnouncement() {
  {
    MutexLock lock(mu_);
    if (!std::exchange(announce_, false)) return true;
  }
  std::vector<PgRows> rows;
  (void)session_->connection().Run(
      {{"SELECT pg_notify('finetune_commits', $1::text)", {PgValue::Text(membership_.id())}}},
      SteadyNow() + options_.patience, rows);
  return !session_->connection().broken();
}

bool PostgresFeed::Look(bool& is_new) {
  const absl::Time now = SteadyNow();
  if (now < look_at_) return true;
  look_at_ = now + options_.poll_interval;
  std::vector<PgRows> rows;
  const PgError error = session_->connection().Run(
      {{"SELECT era, seq, (SELECT count(*) FROM finetune.members WHERE expires BETWEEN 1 "
        "AND " PG_NOW " OR (id = $1::text AND seen_era <> "
        "era AND id = ANY (awaits))) FROM finetune.meta JOIN finetune.eras USING (era)",
        {PgValue::Text(membership_.id())}}},
      now + options_.patience, rows);
  if (!error.ok() || rows[0].size() != 1) return !session_->connection().broken();
  MutexLock lock(mu_);
  is_new = static_cast<uint64_t>(rows[0].Number(0, 0)) != taken_.era ||
           static_cast<uint64_t>(rows[0].Number(0, 1)) != taken_.seq || rows[0].Number(0, 2) > 0;
  return true;
}

}  // namespace finetune
