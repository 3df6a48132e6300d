#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "server/flag_value.h"

namespace finetune {

// A flag, and everything that is said about it. The command line, the environment variable, the
// checks, --help and the table in deploy/README.md (tests/e2e/docs_test.py) follow from this row.
struct Flag {
  absl::string_view name;
  absl::string_view fallback;  // The value where none is given.
  FlagValue value;
  absl::string_view help;
};

// All of them, in the order of --help.
const std::vector<Flag>& Flags();

}  // namespace finetune
