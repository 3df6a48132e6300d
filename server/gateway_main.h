#pragma once

namespace finetune {

// The program finetune-gateway: what its main is. Exit codes are deploy/README.md's.
int GatewayMain(int argc, char** argv);

}  // namespace finetune
