#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"

namespace {

// Everything that must survive is written as it happens (tokens, partial downloads under another
// name), so there is nothing to do but to leave, with the cursor on a clean line.
void OnInterrupt(int) {
  constexpr char kClean[] = "\r\033[K";
  if (isatty(STDERR_FILENO) && write(STDERR_FILENO, kClean, sizeof(kClean) - 1) < 0) _exit(1);
  _exit(finetune::cli::kInterrupted);
}

}  // namespace

int main(int argc, char** argv) {
  // What gRPC receives of a large file is kept for what comes next, not given back and faulted in
  // again, which would be a fifth of the work.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  // What gRPC writes about a connection that fails is said in our own words. Before it starts.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  std::signal(SIGINT, OnInterrupt);
  return finetune::cli::RunCli(
      std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr,
      {.out = isatty(STDOUT_FILENO) != 0, .err = isatty(STDERR_FILENO) != 0});
}
