#include "server/gateway_main.h"

int main(int argc, char** argv) { return finetune::GatewayMain(argc, argv); }
