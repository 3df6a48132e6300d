#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace finetune::emulator {

// A zip with these entries, open for reading; its name is gone already. libzip removes a file that
// it would leave without entries: then it is the bare end record.
inline FILE* OpenZip(const std::vector<std::string>& names) {
  std::string path = testing::TempDir() + "emulator-zip-XXXXXX";
  close(mkstemp(path.data()));
  int error = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_TRUNCATE | ZIP_CREATE, &error);
  for (const std::string& name : names) {
    zip_file_add(zip, name.c_str(), zip_source_buffer(zip, "image", 5, 0), 0);
  }
  zip_close(zip);
  FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    file = std::fopen(path.c_str(), "w+b");
    const char end[22] = {'P', 'K', 5, 6};
    std::fwrite(end, 1, sizeof(end), file);
    std::fflush(file);
  }
  std::remove(path.c_str());
  return file;
}

}  // namespace finetune::emulator
