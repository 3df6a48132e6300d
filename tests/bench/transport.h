#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "tests/bench/calls.h"

namespace finetune::bench {

// How a load generator reaches a server with one call, made again and again. Thread-safe.
class Transport {
 public:
  enum class Answer {
    kGood,     // A success, the same as the first one, byte for byte (unless answers may vary).
    kRefused,  // RESOURCE_EXHAUSTED.
    kWrong,
  };
  using Done = std::function<void(Answer answer)>;

  virtual ~Transport() = default;
  // Makes the first call. False, and a word on stderr, if its answer is not what is expected.
  virtual bool CheckFirst() = 0;
  virtual void Start(Done done) = 0;
  virtual size_t answer_bytes() const = 0;
};

// gRPC, raw: so that the generator does not parse what it measures.
std::unique_ptr<Transport> MakeGrpcTransport(const CallsOptions& options);
// HTTP/1.1 over kept connections, one call at a time on each; one thread reads them all.
std::unique_ptr<Transport> MakeHttpTransport(const CallsOptions& options);

}  // namespace finetune::bench
