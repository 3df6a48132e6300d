#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"

namespace finetune::emulator {

// Spoils the answer, the real one or the one given instead.
void Distort(const std::vector<Fault>& faults, const std::string& call, const Request& request,
             Answer* answer);

// The body with one kind of fault in it. A body that is not JSON comes back as it is.
std::string DistortBody(const Fault& fault, const std::string& body);

// The word that a status gone backwards shows.
std::string EarlierStatus(std::string_view status);

}  // namespace finetune::emulator
