// Gives each file of a folder to the target, as an ordinary test.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/fuzz/fuzz.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]), 2;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    // Said first: when the target aborts, this is the input.
    std::printf("%s\n", entry.path().c_str());
    std::fflush(stdout);
    finetune::Fuzz(text.str());
    ++files;
  }
  return files > 0 ? 0 : 1;
}
