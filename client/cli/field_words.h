// Translates the contract's words into those of the command line.
#pragma once

#include <string>
#include <string_view>

namespace finetune::cli {

// `--data` for `fine_tune.data_source_uri`; the field itself if no flag sets it.
std::string FlagOf(std::string_view field);

// A sentence of the gateway with flags in place of fields.
std::string InWordsOfFlags(std::string_view sentence);

}  // namespace finetune::cli
