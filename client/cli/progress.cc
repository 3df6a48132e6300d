#include "client/cli/progress.h"

#include <ostream>

#include "absl/time/clock.h"
#include "client/cli/text.h"

namespace finetune::cli {
namespace {

constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
constexpr char kClearLine[] = "\r\033[K";
constexpr std::chrono::milliseconds kFrameTime(120);
constexpr absl::Duration kLineTime = absl::Seconds(10);

}  // namespace

Progress::Progress(std::ostream& err, bool on_terminal, std::string text)
    : err_(err),
      on_terminal_(on_terminal),
      start_(absl::Now()),
      text_(std::move(text)),
      last_line_(start_) {
  if (on_terminal_) thread_ = std::thread([this] { Redraw(); });
}

Progress::~Progress() {
  if (!on_terminal_) return;
  {
    ClientLock lock(mu_);
    done_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  err_ << kClearLine << std::flush;
}

void Progress::Show(std::string text) {
  ClientLock lock(mu_);
  text_ = std::move(text);
}

void Progress::Report(std::string text) {
  ClientLock lock(mu_);
  const absl::Time now = absl::Now();
  if (!on_terminal_ && now - last_line_ >= kLineTime) {
    err_ << text << std::endl;
    last_line_ = now;
  }
  text_ = std::move(text);
}

void Progress::Say(std::string_view line) {
  ClientLock lock(mu_);
  if (on_terminal_) err_ << kClearLine;
  err_ << line << "\n" << std::flush;
}

void Progress::Hide() {
  if (!on_terminal_) return;
  ClientLock lock(mu_);
  err_ << kClearLine << std::flush;
}

void Progress::Redraw() {
  ClientLock lock(mu_);
  while (!done_) {
    DrawLine();
    changed_.WaitFor(mu_, kFrameTime);
  }
}

void Progress::DrawLine() {
  frame_ = (frame_ + 1) % std::size(kFrames);
  err_ << kClearLine << kFrames[frame_] << " " << Shorten(text_, 100) << "  "
       << ShortDuration(absl::Now() - start_) << std::flush;
}

}  // namespace finetune::cli
