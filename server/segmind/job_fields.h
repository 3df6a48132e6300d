#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "server/base/error.h"

namespace finetune {

// How a plain member of pb::FineTune is read and written: by the functions that the compiler made
// for it, so that a row costs what naming the member would.
struct TextMember {
  const std::string& (pb::FineTune::*get)() const;
  std::string* (pb::FineTune::*edit)();
};
template <typename T>
struct ScalarMember {
  T (pb::FineTune::*get)() const;
  void (pb::FineTune::*set)(T);
};

// A field of a job (a text, a number or a flag) that means the same to Segmind and to callers. One
// row is all that the gateway needs to know about it: readings take it from Segmind's answers,
// joins put it into the record, and a submission sends it if callers may set it.
struct JobField {
  int number;                      // In pb::FineTune.
  std::string_view upstream_name;  // Segmind's name for it.
  bool input;                      // Callers set it in a create.
  std::variant<TextMember, ScalarMember<int32_t>, ScalarMember<double>, ScalarMember<bool>> member;
};

// In the order in which a submission sends them.
std::span<const JobField> JobFields();

// The fields that callers may set in a create, and no others.
pb::FineTune InputOf(const pb::FineTune& fine_tune);

}  // namespace finetune
