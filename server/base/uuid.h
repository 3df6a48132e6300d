#pragma once

#include <string>
#include <string_view>

namespace finetune {

// A random (version 4) UUID in lower case.
std::string MakeUuid();

// Whether `text` has the form 8-4-4-4-12 of hexadecimal digits, in either case.
bool IsUuid(std::string_view text);

}  // namespace finetune
