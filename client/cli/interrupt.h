#pragma once

#include <string>

namespace finetune::cli {

// While it lives, Ctrl-C leaves this sentence on the terminal: what goes on without this process,
// and how to come back to it. One at a time.
class Farewell {
 public:
  explicit Farewell(std::string sentence);
  ~Farewell();
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;

 private:
  const std::string sentence_;
};

// Makes Ctrl-C end the process with kInterrupted, on a clean line. Everything that must survive is
// written as it happens, so there is nothing else to do.
void HandleInterrupt();

}  // namespace finetune::cli
