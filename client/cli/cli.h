// The `finetune` command line, as a function so that tests can run it.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "client/cli/terminal.h"

namespace finetune::cli {

// `args` without the program's name. Returns the process's exit code (exit_code.h). Results go to
// `out`, everything else to `err`. Blocks until the command is done; `watch` runs until its stream
// or its purpose ends.
int RunCli(const std::vector<std::string>& args, std::ostream& out, std::ostream& err,
           const Terminal& terminal = {});

}  // namespace finetune::cli
