#pragma once

#include <string>
#include <string_view>

namespace finetune {

// The signature in a URL (S3, Google, Azure, CloudFront, Aliyun, tokens of any kind) lets anybody
// who has it read or write the file, and differs each time that the URL is made. So a URL is
// compared, kept and shown without it, and fetched with it. Pure functions.

// `text` without the signatures of the URLs in it: parameters that sign, known by their names,
// those that accompany them, and user names and passwords. `text` may be a URL, or words that quote
// one whole or in part. The rest of a query stays as it was.
std::string WithoutSignatures(std::string_view text);

// Whether WithoutSignatures would remove something.
bool IsSigned(std::string_view text);

// The same for raw JSON, whose strings may write `&` as \u0026: for comparing it with what was read
// before, not for parsing. False, and `cleaned` unchanged, if there is nothing to remove.
bool JsonWithoutSignatures(std::string_view json, std::string& cleaned);

}  // namespace finetune
