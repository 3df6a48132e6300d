#pragma once

namespace finetune {

// The main function of the program finetune-gateway. deploy/README.md lists its exit codes.
int GatewayMain(int argc, char** argv);

}  // namespace finetune
