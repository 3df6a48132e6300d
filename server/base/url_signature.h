#pragma once

#include <string>
#include <string_view>

namespace finetune {

// What signs a URL (S3, Google, Azure, CloudFront, Aliyun, tokens of any kind) lets whoever has it
// read or write the file, and is another one each time that the URL is made. So a URL is compared,
// kept and shown without it, and fetched with it. Pure functions.

// `text` without what signs the URLs in it: the parameters that do, by their names, those that go
// along with them, and user names and passwords. `text` may be a URL, or words that quote one whole
// or in part. What is left of a query stays as it was.
std::string WithoutSignatures(std::string_view text);

// Whether WithoutSignatures would take something away.
bool IsSigned(std::string_view text);

// The same for JSON as it came, whose strings may write `&` as \u0026: to see whether it says
// something else than before. Not to be parsed again. False, and `cleaned` unchanged, if there is
// nothing to take away.
bool JsonWithoutSignatures(std::string_view json, std::string& cleaned);

}  // namespace finetune
