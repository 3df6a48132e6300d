#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace finetune::emulator {

// `body` in the content coding gzip, x-gzip or deflate; as it is for any other, which a fault may
// name without meaning it.
std::string Encoded(std::string_view body, std::string_view coding);

// A gzip file that unpacks to `body` and then `spaces` spaces, about 1000 times its size. Costs no
// more than a few megabytes and milliseconds for each GB.
std::string GzipBomb(std::string_view body, uint64_t spaces);

}  // namespace finetune::emulator
