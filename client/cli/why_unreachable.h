#pragma once

#include <string>

#include "client/cpp/channel.h"

namespace finetune::cli {

// Why something failed.
struct Cause {
  // What is wrong, as half a sentence; empty if that is not known.
  std::string what;
  // What to do about it, as a sentence.
  std::string advice;
};

// Finds out why no call gets through: connects once more, with the same TLS material, and sees how
// far that gets. gRPC itself says about TLS only that a socket was closed, and of several addresses
// only what happened with the last one. Takes seconds at most.
Cause WhyUnreachable(const std::string& target, const ConnectOptions& options, const TlsPem& pem);

}  // namespace finetune::cli
