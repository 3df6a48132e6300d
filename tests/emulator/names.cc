#include "tests/emulator/names.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace finetune::emulator {
namespace {

using Change = std::function<std::string(std::string)>;

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 128;
}

std::string Titled(std::string name) {
  bool inside = false;
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    c = static_cast<char>(inside ? absl::ascii_tolower(byte) : absl::ascii_toupper(byte));
    inside = IsWordByte(c);
  }
  return name;
}

std::string Cut(std::string name, size_t most) {
  if (name.size() <= most) return name;
  // Not between the bytes of one character.
  while (most > 0 && (static_cast<unsigned char>(name[most]) & 0xc0) == 0x80) --most;
  return name.substr(0, most);
}

Change Replaced(char with) {
  return [with](std::string name) {
    std::replace(name.begin(), name.end(), '-', with);
    return name;
  };
}

// The rule's change; null if there is no such rule.
Change ChangeOf(std::string_view rule) {
  const size_t colon = rule.find(':');
  const std::string_view word = rule.substr(0, colon);
  const std::string text(colon == std::string_view::npos ? "" : rule.substr(colon + 1));
  if (word == "cut") {
    uint32_t most = 0;
    if (!absl::SimpleAtoi(text, &most)) return nullptr;
    return [most](std::string name) { return Cut(std::move(name), most); };
  }
  if (word == "prefix") return [text](const std::string& name) { return text + name; };
  if (word == "suffix") return [text](const std::string& name) { return name + text; };
  if (colon != std::string_view::npos) return nullptr;
  if (word == "upper") return [](const std::string& name) { return absl::AsciiStrToUpper(name); };
  if (word == "lower") return [](const std::string& name) { return absl::AsciiStrToLower(name); };
  if (word == "title") return Titled;
  if (word == "underscore") return Replaced('_');
  if (word == "space") return Replaced(' ');
  if (word == "plain") {
    return [](std::string name) {
      std::erase_if(name, [](char c) { return !IsWordByte(c); });
      return name;
    };
  }
  return nullptr;
}

std::vector<std::string> Rules(std::string_view rules) {
  return absl::StrSplit(absl::string_view(rules.data(), rules.size()), ',', absl::SkipEmpty());
}

}  // namespace

std::string MangledName(std::string_view rules, std::string_view name) {
  std::string mangled(name);
  for (const std::string& rule : Rules(rules)) {
    if (const Change change = ChangeOf(rule)) mangled = change(std::move(mangled));
  }
  return mangled;
}

std::optional<std::string> CheckMangling(std::string_view rules) {
  for (const std::string& rule : Rules(rules)) {
    if (ChangeOf(rule) == nullptr) {
      return absl::StrCat("name_mangling does not know ", rule,
                          "; it knows upper, lower, title, cut:N, underscore, space, plain, "
                          "prefix:TEXT, suffix:TEXT");
    }
  }
  return std::nullopt;
}

}  // namespace finetune::emulator
