// The contract's words as those of the command line.
#pragma once

#include <string>
#include <string_view>

namespace finetune::cli {

// `--data` for `fine_tune.data_source_uri`; the field itself where no flag sets it.
std::string FlagOf(std::string_view field);

// A sentence of the gateway with its fields called by their flags.
std::string InWordsOfFlags(std::string_view sentence);

}  // namespace finetune::cli
