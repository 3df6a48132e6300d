#pragma once

#include <string>
#include <string_view>

namespace finetune::inline client {

// A random UUID (version 4) in lower case, for CreateFineTuneRequest.request_id.
std::string MakeRequestId();

}  // namespace finetune::inline client
