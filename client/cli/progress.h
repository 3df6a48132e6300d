#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <thread>

#include "absl/time/time.h"
#include "client/cli/terminal.h"
#include "client/cpp/sync.h"

namespace finetune::cli {

// The line that shows that something is awaited: a spinner, what is awaited and for how long, cut
// to the terminal's width and redrawn by a thread of its own. Where no line can be written over it
// draws nothing, and only Say() prints. Thread-safe.
class Progress {
 public:
  // `err` must not be written by others while the Progress lives, but through Say() or after
  // Hide().
  Progress(std::ostream& err, const Terminal& terminal, std::string text);
  ~Progress();

  // What is awaited, from now on.
  void Show(std::string text) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for what takes long: where nothing is drawn a line every ten seconds.
  void Report(std::string text) ABSL_LOCKS_EXCLUDED(mu_);
  // A line that stays, above the progress.
  void Say(std::string_view line) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the progress line away, such as before a line on the other output of the same terminal;
  // it comes back with the next redrawing.
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
