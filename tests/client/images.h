#pragma once

#include <string>

namespace finetune {

// What begins as images do.
inline std::string Jpeg(const std::string& rest = "pixels") { return "\xff\xd8\xff\xe0" + rest; }
inline std::string Png(const std::string& rest = "pixels") { return "\x89PNG\r\n\x1a\n" + rest; }

}  // namespace finetune
