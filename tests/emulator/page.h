#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/emulator/http.h"

namespace finetune::emulator {

// One of the page's own files (tests/emulator/page), which are part of the program.
struct PageFile {
  std::string_view name;
  std::string_view bytes;
};

// Generated.
const std::vector<PageFile>& PageFiles();

// The page that turns the control door by clicks: GET /, and its files below /emulator/page/.
// Nothing for other requests.
std::optional<Answer> PageAnswer(const Request& request);

}  // namespace finetune::emulator
