#include "client/cli/progress.h"

#include <iterator>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/text.h"

namespace finetune::cli {
namespace {

constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
constexpr const char* kAsciiFrames[] = {"-", "\\", "|", "/"};
constexpr std::chrono::milliseconds kFrameTime(120);
constexpr absl::Duration kLineTime = absl::Seconds(10);

}  // namespace

Progress::Progress(std::ostream& err, const Terminal& terminal, std::string text)
    : err_(err),
      terminal_(terminal),
      draws_(terminal.err && terminal.rewrites),
      start_(absl::Now()),
      text_(std::move(text)),
      last_line_(start_) {
  if (draws_) thread_ = std::thread([this] { Redraw(); });
}

Progress::~Progress() {
  if (!draws_) return;
  {
    ClientLock lock(mu_);
    done_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  ClientLock lock(mu_);
  ClearLine();
  err_ << std::flush;
}

void Progress::Show(std::string text) {
  ClientLock lock(mu_);
  text_ = std::move(text);
}

void Progress::Report(std::string text) {
  ClientLock lock(mu_);
  const absl::Time now = absl::Now();
  if (!draws_ && now - last_line_ >= kLineTime) {
    err_ << text << std::endl;
    last_line_ = now;
  }
  text_ = std::move(text);
}

void Progress::Say(std::string_view line) {
  ClientLock lock(mu_);
  ClearLine();
  err_ << line << "\n" << std::flush;
}

void Progress::Hide() {
  ClientLock lock(mu_);
  ClearLine();
  err_ << std::flush;
}

void Progress::Redraw() {
  ClientLock lock(mu_);
  while (!done_) {
    DrawLine();
    changed_.WaitFor(mu_, kFrameTime);
  }
}

// With spaces, for terminals without escape sequences and users who want none.
void Progress::ClearLine() {
  if (drawn_ == 0) return;
  err_ << "\r" << std::string(drawn_, ' ') << "\r";
  drawn_ = 0;
}

void Progress::DrawLine() {
  const size_t frames = terminal_.utf8 ? std::size(kFrames) : std::size(kAsciiFrames);
  frame_ = static_cast<int>((frame_ + 1) % frames);
  const char* frame = terminal_.utf8 ? kFrames[frame_] : kAsciiFrames[frame_];
  const std::string time = absl::StrCat("  ", ShortDuration(absl::Now() - start_));
  // A line that fills the last column would begin another one.
  const size_t room = static_cast<size_t>(terminal_.Columns()) - 1;
  const std::string text = Shorten(text_, room - std::min(room, 2 + Width(time)));
  const std::string line = absl::StrCat(frame, " ", text, time);
  const size_t width = Width(line);
  // Overwrites what is left of the last line.
  err_ << "\r" << line;
  if (drawn_ > width) err_ << std::string(drawn_ - width, ' ') << "\r" << line;
  err_ << std::flush;
  drawn_ = std::max(drawn_, width);
}

}  // namespace finetune::cli
