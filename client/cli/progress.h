#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <thread>

#include "absl/time/time.h"
#include "client/cli/terminal.h"
#include "client/cpp/sync.h"

namespace finetune::cli {

// The line that shows that the program is waiting: a spinner, what it waits for, and how long it
// has waited, cut to the terminal's width and redrawn by a thread of its own. If the output has no
// lines that can be overwritten it draws nothing, and only Say() prints. Thread-safe.
class Progress {
 public:
  // While the Progress lives, others may write to `err` only through Say() or after Hide().
  Progress(std::ostream& err, const Terminal& terminal, std::string text);
  ~Progress();

  // Sets what the program waits for from now on.
  void Show(std::string text) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for waits that take long: if nothing is drawn, prints a line every ten seconds.
  void Report(std::string text) ABSL_LOCKS_EXCLUDED(mu_);
  // Prints a line that stays, above the progress line.
  void Say(std::string_view line) ABSL_LOCKS_EXCLUDED(mu_);
  // Removes the progress line, for instance before something is printed on the other output of the
  // same terminal; it comes back when it is next redrawn.
  void Hide() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Redraw();
  void DrawLine() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ClearLine() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::ostream& err_;
  const Terminal terminal_;
  const bool draws_;
  const absl::Time start_;

  ClientMutex mu_;
  std::string text_ ABSL_GUARDED_BY(mu_);
  absl::Time last_line_ ABSL_GUARDED_BY(mu_);
  // Columns of the line that is drawn.
  size_t drawn_ ABSL_GUARDED_BY(mu_) = 0;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  int frame_ ABSL_GUARDED_BY(mu_) = 0;
  ClientCondition changed_;

  std::thread thread_;
};

}  // namespace finetune::cli
