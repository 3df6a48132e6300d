#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace finetune::cli {
namespace {

constexpr int kUsualColumns = 80;
constexpr int kFewestColumns = 20;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// As setlocale() would choose it for characters.
bool LocaleIsUtf8() {
  std::string locale = Environment("LC_ALL");
  if (locale.empty()) locale = Environment("LC_CTYPE");
  if (locale.empty()) locale = Environment("LANG");
  return absl::StrContains(absl::AsciiStrToLower(locale), "utf-8") ||
         absl::StrContains(absl::AsciiStrToLower(locale), "utf8");
}

}  // namespace

int Terminal::Columns() const {
  if (columns > 0) return columns;
  winsize size = {};
  for (const int file : {STDERR_FILENO, STDOUT_FILENO}) {
    if (ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
      return size.ws_col < kFewestColumns ? kFewestColumns : size.ws_col;
  }
  int wanted = 0;
  return absl::SimpleAtoi(Environment("COLUMNS"), &wanted) && wanted >= kFewestColumns
             ? wanted
             : kUsualColumns;
}

Terminal ThisTerminal() {
  const std::string kind = Environment("TERM");
  const bool dumb = kind.empty() || kind == "dumb";
  return {.out = isatty(STDOUT_FILENO) != 0,
          .err = isatty(STDERR_FILENO) != 0,
          .rewrites = !dumb,
          .coloured = !dumb && Environment("NO_COLOR").empty(),
          .utf8 = LocaleIsUtf8()};
}

}  // namespace finetune::cli
