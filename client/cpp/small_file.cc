#include "client/cpp/small_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetune::inline client {
namespace {

// The authorities that a system trusts are a quarter of this.
constexpr size_t kMostBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::string> ReadSmallFile(std::string_view what, const std::string& path) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read the ", std::string(what), " file ",
                                                   path, ": ", std::string(why)));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return bad("it is a directory");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return bad(errno != 0 ? std::strerror(errno) : "it cannot be opened");
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return bad("an error while reading");
  if (text.empty()) return bad("it is empty");
  if (text.size() > kMostBytes) return bad("it is larger than 1 MiB");
  return text;
}

}  // namespace finetune::inline client
