#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// The calls that wait until memory includes a read of Segmind that is new enough. Times are steady.
// Tracker thread only.
class RefreshCalls {
 public:
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  explicit RefreshCalls(const Catalog& catalog) : catalog_(catalog) {}

  // Of the job with that id, or of all jobs if it is empty.
  void Add(std::string id, absl::Time not_before, absl::Time deadline, Done done);

  // Ends those whose time is up.
  void Expire(absl::Time now);
  // Ends those that the catalog satisfies by now.
  void FinishServed();
  // Ends those that a read which was asked for at `asked` could have served, and that failed: of
  // lists, or with an id the reads of that job alone.
  void Fail(absl::Time asked, const absl::Status& status);
  void FailOf(const std::string& id, absl::Time asked, const absl::Status& status);
  void EndAll(const absl::Status& status);

  struct Call {
    std::string id;
    absl::Time not_before;
    absl::Time deadline;
    Done done;
  };
  // Takes all of them, to be served by somebody else.
  std::vector<Call> TakeAll();

  // Ids of single jobs that are waited for.
  std::vector<std::string> ids() const;
  bool WaitsForAll() const;
  absl::Time NextDeadline() const;

  bool IsServed(const std::string& id, absl::Time not_before) const;

  // The newest read that anybody waits for; InfinitePast if nobody does.
  absl::Time NewestWanted() const;

 private:
  template <typename Ends>
  void EndWhere(const Ends& ends, const absl::Status& status);

  const Catalog& catalog_;
  std::multimap<absl::Time, Call> calls_;  // By deadline.
};

}  // namespace finetune
