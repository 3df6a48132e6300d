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

// The account's calls per minute, as a table with one row for each call that is allowed in a
// minute. A call takes the row that was taken longest ago, if that was more than a minute ago;
// another process that does so at the same time gets another row, or none. Thread-safe except for
// what only the fleet's thread may call; the owner of that thread outlives it.
class PostgresCalls : public CallBudget {
 public:
  // `wake` makes the fleet's thread call Run.
  explicit PostgresCalls(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Ask(int kind, Done done) override ABSL_LOCKS_EXCLUDED(mu_);
  void HoldUntil(absl::Time time) override ABSL_LOCKS_EXCLUDED(mu_);
  void Follow(std::function<void(const Picture&)> listener) override ABSL_LOCKS_EXCLUDED(mu_);

  // From here on: fleet's thread only.
  // The connection is a new one, and its server may have lost calls that this process made, as
  // after a failover: they are counted again before anything is granted.
  void OnConnected() { may_lack_ = true; }
  // Answers all questions so far. Not OK if the connection can no longer be used.
  PgError Run(PgConnection& connection, const DatabaseClock& clock, absl::Duration patience)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Refuses all questions so far, because the database cannot be reached.
  void Refuse(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  // From now on refuses at once.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // The statements that ask for the picture, to be the last ones sent together; and the picture
  // from their rows.
  static std::vector<PgQuery> PictureQueries();
  static Picture PictureOf(const PgRows& calls, const PgRows& hold, const DatabaseClock& clock);
  void Show(const Picture& picture) ABSL_LOCKS_EXCLUDED(mu_);

  // The statements that make as many rows as the account allows calls.
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
  // Held while the listener runs, so that it never runs after it was replaced.
  Mutex listener_mu_;
  std::function<void(const Picture&)> listener_ ABSL_GUARDED_BY(listener_mu_);
};

}  // namespace finetune
