// The exit codes of the process, for scripts.
#pragma once

#include <iosfwd>
#include <string_view>

#include "absl/status/status.h"

namespace finetune::cli {

enum ExitCode : int {
  kSuccess = 0,
  // The awaited job ended as FAILED, CANCELLED or LOST.
  kJobFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kPrecondition = 4,
  kQuota = 5,
  kUnavailable = 6,
  kPermission = 7,
  kInternal = 8,
  // A file or disk of this machine.
  kLocalFile = 9,
  kInterrupted = 130,
};

// The same list, for --help.
extern const char kExitCodesHelp[];

// The payload that marks a failure of Segmind's storage, as opposed to one of the gateway or on the
// way to it.
inline constexpr char kStorageFailure[] = "finetune.cli/storage_failure";

// The payload that says what to do, if more is known than code and reason tell.
inline constexpr char kAdvice[] = "finetune.cli/advice";

ExitCode ExitCodeOf(const absl::Status& status);

// Prints one sentence with the reason, then what is wrong with which field, then what to do, as far
// as each is known. Fields are named by their flags. `time_flag` is the flag that gives a call more
// time.
void PrintError(const absl::Status& status, std::ostream& err,
                std::string_view time_flag = "--timeout");

}  // namespace finetune::cli
