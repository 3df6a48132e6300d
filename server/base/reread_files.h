#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/secret.h"
#include "server/base/worker.h"

namespace finetune {

// A file from outside, or several that belong together, read again whenever one of them changes:
// certificates, tokens, keys, the policy. Their content is taken as a whole or not at all: if it is
// bad, what was taken before stays in force, the log and the metrics say so, and the next change is
// tried again. A pipe is read once. Made by FileRereader. Thread-safe.
class RereadFiles {
 public:
  using Read = absl::FunctionRef<absl::StatusOr<std::string>(const std::string& path)>;
  // Reads what it needs, checks it and puts it in force, or says why not and changes nothing:
  // UNAVAILABLE if the files may turn out to be good as they are, anything else if they must be
  // changed. Runs one at a time, on any thread; must not call Look on its own files.
  using Take = std::function<absl::Status(Read read)>;

  RereadFiles(std::string subject, Take take, Metrics& metrics);
  ~RereadFiles() { refused_now_.Set(0); }

  // The first reading. Nothing is in force before it, and the caller reports its error.
  absl::Status Open() ABSL_LOCKS_EXCLUDED(looking_);
  // Takes the files again if the text of one has changed since they were judged. Blocks for as long
  // as that takes.
  void Look() ABSL_LOCKS_EXCLUDED(looking_);
  // The same, even if no text has changed: for other things that `take` depends on.
  void LookAnew() ABSL_LOCKS_EXCLUDED(looking_);
  // Afterwards `take` is not running and will not run. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(looking_);

 private:
  // Nullopt for a file that cannot be read.
  using Texts = std::map<std::string, std::optional<Secret>>;

  absl::StatusOr<std::string> ReadOne(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(looking_);
  bool ChangedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(looking_);
  absl::Status TakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(looking_);
  // Counts a reading other than the first one. True if it is worth a line in the log.
  bool CountLocked(bool changed, const absl::Status& before)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(looking_);
  void Tell(const absl::Status& outcome) const;

  // Constant after construction.
  const std::string subject_;
  const Take take_;
  prometheus::Counter& taken_;
  prometheus::Counter& refused_;
  prometheus::Gauge& refused_now_;

  // Held while files are read and taken, so that a later text never loses to an earlier one.
  Mutex looking_;
  bool stopped_ ABSL_GUARDED_BY(looking_) = false;
  Texts judged_ ABSL_GUARDED_BY(looking_);  // As `take` last read them.
  std::map<std::string, Secret> pipes_ ABSL_GUARDED_BY(looking_);
  absl::Status outcome_ ABSL_GUARDED_BY(looking_);
};

// Looks at files every second, on a thread of its own ("files"), and whenever it is told to. The
// clock and the metrics outlive it. Thread-safe.
class FileRereader {
 public:
  FileRereader(Clock& clock, Metrics& metrics);
  ~FileRereader();

  // `subject` names the files in the log and in the metrics. From their Open on the files are
  // looked at for as long as somebody holds the result.
  std::shared_ptr<RereadFiles> Add(std::string subject, RereadFiles::Take take)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Looks at all files, on this thread.
  void LookNow() ABSL_LOCKS_EXCLUDED(mu_);
  // Stops looking by itself. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Schedule() ABSL_LOCKS_EXCLUDED(mu_);

  Clock& clock_;
  Metrics& metrics_;

  Mutex mu_;
  std::list<std::weak_ptr<RereadFiles>> all_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  Worker worker_;
};

}  // namespace finetune
