#include "client/cli/cli_main.h"

int main(int argc, char** argv) { return finetune::cli::CliMain(argc, argv); }
