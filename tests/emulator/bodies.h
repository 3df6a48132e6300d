#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/emulator/http.h"

namespace finetune::emulator {

// The ways in which services word an error. GET /emulator/faults/kinds lists them.
const std::vector<std::string>& ErrorShapes();
// `words` as an error of that shape; `field` is what is to blame, where the shape names one.
Answer ShapedError(int code, std::string_view shape, std::string_view words,
                   std::string_view field);

// What stands in place of a file that was asked for.
const std::vector<std::string>& FileContents();
Answer WrongFile(std::string_view content);

// One of S3's errors, with the code that S3 answers it with unless `code` is another.
Answer StorageError(std::string_view s3_code, int code, std::string_view message);

// `text` with each {api_key} replaced by the key, and {api_key:FORM} by the key in that form:
// base64, percent, hex, escaped (JSON's \u00XX), head and tail (its two halves).
std::string WithKey(std::string_view text, std::string_view key);

}  // namespace finetune::emulator
