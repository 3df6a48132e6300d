#pragma once

#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "server/base/call_budget.h"
#include "server/base/mutex.h"
#include "server/store/database_clock.h"
#include "server/store/pg_connection.h"

namespace finetune {

// The account's calls per minute as rows of one table: one row for each call that may be made in a
// minute. A call takes the row that was taken longest ago, if that was more than a minute ago;
// whoever takes one at the same time gets another row, or none. Thread-safe except for what only
// the fleet's thread may call; that thread's owner outlives it.
class PostgresCalls : public CallBudget {
 public:
  // `wake` gets the fleet's thread to call Run.
  explicit PostgresCalls(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Ask(int kind, Done done) override ABSL_LOCKS_EXCLUDED(mu_);
  void HoldUntil(absl::Time time) override ABSL_LOCKS_EXCLUDED(mu_);
  void Follow(std::function<void(const Picture&)> listener) override ABSL_LOCKS_EXCLUDED(mu_);

  // Fleet's thread, from here on.
  // The connection is another one, and its server may have lost calls that this process made, as
  // after a failover: they are counted anew before anything is granted.
  void OnConnected() { may_lack_ = true; }
  // Answers everything that was asked. Not OK if the connection can no longer be used.
  PgError Run(PgConnection& connection, const DatabaseClock& clock, absl::Duration patience)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Refuses everything that was asked, because the database cannot be reached.
  void Refuse(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  // From now on refuses at once.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // What tells the picture, as the last statements of a question; and what it then is.
  static std::vector<PgQuery> PictureQueries();
  static Picture PictureOf(const PgRows& calls, const PgRows& hold, const DatabaseClock& clock);
  void Show(const Picture& picture) ABSL_LOCKS_EXCLUDED(mu_);

  // As many rows as the account allows calls.
  static std::vector<PgQuery> LimitQueries(int calls_per_minute);

 private:
  struct Asked {
    int kind = 0;
    Done done;
  };
  struct Waiting {
    std::vector<Asked> asked;
    absl::Time hold_until = absl::InfinitePast();
  };

  // A call of this process.
  struct Made {
    int64_t slot = 0;
    int64_t at = 0;  // By the database's clock.
    int kind = 0;
    absl::Time granted;  // Steady.
  };

  Waiting Take() ABSL_LOCKS_EXCLUDED(mu_);
  PgError BringBack(PgConnection& connection, const DatabaseClock& clock, absl::Duration patience);
  PgError RunOne(PgConnection& connection, const DatabaseClock& clock, absl::Duration patience,
                 int kind, Answer& answer);

  const std::function<void()> wake_;

  // Fleet's thread only.
  std::deque<Made> made_;  // In the last minute, oldest first.
  bool may_lack_ = false;

  Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  Waiting waiting_ ABSL_GUARDED_BY(mu_);
  // Held while the listener runs, so that it does not run once it was replaced.
  Mutex listener_mu_;
  std::function<void(const Picture&)> listener_ ABSL_GUARDED_BY(listener_mu_);
};

}  // namespace finetune
