#pragma once

namespace finetune::cli {

// The program finetune: what its main is. Returns the exit code.
int CliMain(int argc, char** argv);

}  // namespace finetune::cli
