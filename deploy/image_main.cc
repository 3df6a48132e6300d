#include <string_view>

#include "client/cli/cli_main.h"
#include "server/gateway_main.h"

// The only program of the image: the gateway or, under the name finetune, the command line. gRPC is
// linked into it, and twice would be a third of the image.
int main(int argc, char** argv) {
  const std::string_view path(argc > 0 ? argv[0] : "");
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name == "finetune" ? finetune::cli::CliMain(argc, argv)
                            : finetune::GatewayMain(argc, argv);
}
