#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tests/emulator/http.h"

namespace finetune::emulator {

// How much goes out where a fault says no number: more than anybody should take.
constexpr uint64_t kEndless = 1 << 30;

// Bytes that go out on a connection as they are, past all HTTP: `head`, then `repeat` until that
// many bytes of it have gone, then `tail`; then the connection closes. Ends early when the other
// side has gone or `longest` has passed.
struct WireScript {
  std::string head;
  std::string repeat;
  uint64_t repeat_bytes = 0;
  std::string tail;
  std::chrono::milliseconds longest{60000};
};

// The answer as HTTP/1.1 has it, with Content-Length. Bodies from a source are read whole.
std::string WireText(const Answer& answer);
// Status line and headers of the answer without the empty line that ends them, and without
// Content-Length.
std::string WireHead(const Answer& answer);
// The whole body in memory.
std::string BodyText(const Answer& answer);

// Whether only a script can say it: a header with bytes that HTTP has no place for.
bool NeedsWire(const Answer& answer);

}  // namespace finetune::emulator
