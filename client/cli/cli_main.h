#pragma once

namespace finetune::cli {

// The main function of the program `finetune`. Returns the exit code.
int CliMain(int argc, char** argv);

}  // namespace finetune::cli
