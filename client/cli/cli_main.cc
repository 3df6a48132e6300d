#include "client/cli/cli_main.h"

#include <malloc.h>

#include <cstdlib>
#include <iostream>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"

namespace finetune::cli {

int CliMain(int argc, char** argv) {
  // Memory in which gRPC received part of a large file is kept for the next part. Giving it back
  // and faulting it in again would be a fifth of the work.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  // Before gRPC starts: what it writes about a failing connection, this program says in its own
  // words.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  HandleInterrupt();
  return RunCli(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr,
                ThisTerminal());
}

}  // namespace finetune::cli
