#pragma once

#include <string>

namespace finetune::cli {

// While it lives, Ctrl-C prints this sentence on the terminal: what goes on without this process,
// and how to come back to it. There can be one at a time.
class Farewell {
 public:
  explicit Farewell(std::string sentence);
  ~Farewell();
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;

 private:
  const std::string sentence_;
};

// Makes Ctrl-C end the process with kInterrupted, on a clean line. Nothing else is needed, because
// everything that must survive is written as it happens.
void HandleInterrupt();

}  // namespace finetune::cli
