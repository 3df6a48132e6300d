#include "client/cli/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "client/cli/exit_code.h"

namespace finetune::cli {
namespace {

std::atomic<const std::string*> farewell = nullptr;

void Write(const char* text, size_t size) {
  if (::write(STDERR_FILENO, text, size) < 0) _exit(kInterrupted);
}

void OnInterrupt(int) {
  if (isatty(STDERR_FILENO)) Write("\n", 1);
  if (const std::string* sentence = farewell.load(); sentence != nullptr)
    Write(sentence->data(), sentence->size());
  _exit(kInterrupted);
}

}  // namespace

Farewell::Farewell(std::string sentence) : sentence_(std::move(sentence) + "\n") {
  farewell = &sentence_;
}

Farewell::~Farewell() { farewell = nullptr; }

void HandleInterrupt() { std::signal(SIGINT, OnInterrupt); }

}  // namespace finetune::cli
