#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"
#include "tests/emulator/settings.h"

namespace finetune::emulator {

// The answer that one of `faults` gives in place of the real one, if any does.
std::optional<Answer> AnswerInstead(const std::vector<Fault>& faults, const std::string& call,
                                    const Settings& settings);
// False: the call must not take effect.
bool MayAct(const std::vector<Fault>& faults, const std::string& call);

}  // namespace finetune::emulator
