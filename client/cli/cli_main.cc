#include "client/cli/cli_main.h"

#include <malloc.h>

#include <cstdlib>
#include <iostream>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"

namespace finetune::cli {

int CliMain(int argc, char** argv) {
  // What gRPC receives of a large file is kept for what comes next, not given back and faulted in
  // again, which would be a fifth of the work.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  // What gRPC writes about a connection that fails is said in our own words. Before it starts.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  HandleInterrupt();
  return RunCli(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr,
                ThisTerminal());
}

}  // namespace finetune::cli
