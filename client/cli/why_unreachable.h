#pragma once

#include <string>

#include "client/cpp/channel.h"

namespace finetune::cli {

struct Cause {
  // What is wrong, as half a sentence; empty if that is not known.
  std::string what;
  // What to do about it, as a sentence.
  std::string advice;
};

// Why no call gets through: connects once more, with what the files of TLS held, and looks at how
// far that gets; gRPC says of TLS no more than that a socket was closed, and of several addresses
// only what the last one did. Takes seconds at most.
Cause WhyUnreachable(const std::string& target, const ConnectOptions& options, const TlsPem& pem);

}  // namespace finetune::cli
