#include "server/service/requests/list_order.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"create_time", "update_time", "display_name"};
constexpr size_t kMaxLength = 200;

void AppendNumber(std::string& out, uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(number >> shift));
}

bool TakeNumber(std::string_view& bytes, uint64_t& number) {
  if (bytes.size() < 8) return false;
  number = 0;
  for (const char byte : bytes.substr(0, 8))
    number = number << 8 | static_cast<unsigned char>(byte);
  bytes.remove_prefix(8);
  return true;
}

void AppendTime(std::string& out, absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  AppendNumber(out, static_cast<uint64_t>(seconds));
  AppendNumber(
      out, static_cast<uint64_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

bool TakeTime(std::string_view& bytes, absl::Time& time) {
  uint64_t seconds = 0;
  uint64_t nanos = 0;
  if (!TakeNumber(bytes, seconds) || !TakeNumber(bytes, nanos)) return false;
  time = absl::FromUnixSeconds(static_cast<int64_t>(seconds)) +
         absl::Nanoseconds(static_cast<int64_t>(nanos));
  return true;
}

template <typename T>
int Compare(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

}  // namespace

absl::StatusOr<ListOrder::Term> ListOrder::ParseTerm(std::string_view text) {
  const std::vector<std::string> words =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ' ', absl::SkipEmpty());
  const auto name =
      words.empty() ? kNames.end() : std::find(kNames.begin(), kNames.end(), words[0]);
  if (name == kNames.end() || words.size() > 2 || (words.size() == 2 && words[1] != "desc")) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ValidUtf8(text, 64),
                     "' is not create_time, update_time or display_name, perhaps with ' desc'"));
  }
  return Term{static_cast<Field>(name - kNames.begin()), words.size() == 2};
}

absl::StatusOr<ListOrder> ListOrder::Parse(std::string_view text) {
  if (text.size() > kMaxLength)
    return absl::InvalidArgumentError(absl::StrCat("must have at most ", kMaxLength, " bytes"));
  const absl::string_view given =
      absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
  ListOrder order;
  for (const absl::string_view part :
       absl::StrSplit(given.empty() ? absl::string_view("create_time desc") : given, ',')) {
    ASSIGN_OR_RETURN(const Term term, ParseTerm({part.data(), part.size()}));
    const std::string_view name = kNames[static_cast<size_t>(term.field)];
    for (const Term& earlier : order.terms_) {
      if (earlier.field == term.field)
        return absl::InvalidArgumentError(absl::StrCat("names ", std::string(name), " twice"));
    }
    absl::StrAppend(&order.key_, std::string(name), term.descending ? " desc," : ",");
    order.terms_.push_back(term);
  }
  return order;
}

bool ListOrder::Before(const FineTuneVersion& a, const FineTuneVersion& b) const {
  for (const Term& term : terms_) {
    int compared = 0;
    switch (term.field) {
      case Field::kCreateTime:
        compared = Compare(a.create_time, b.create_time);
        break;
      case Field::kUpdateTime:
        compared = Compare(a.update_time, b.update_time);
        break;
      case Field::kDisplayName:
        compared = a.display_name.compare(b.display_name);
        break;
    }
    if (compared != 0) return (compared < 0) != term.descending;
  }
  return descending() ? a.first_revision > b.first_revision : a.first_revision < b.first_revision;
}

std::string ListOrder::PlaceOf(const FineTuneVersion& version) const {
  std::string place;
  AppendNumber(place, version.first_revision);
  for (const Term& term : terms_) {
    switch (term.field) {
      case Field::kCreateTime:
        AppendTime(place, version.create_time);
        break;
      case Field::kUpdateTime:
        AppendTime(place, version.update_time);
        break;
      case Field::kDisplayName:
        AppendNumber(place, version.display_name.size());
        place += version.display_name;
        break;
    }
  }
  return place;
}

std::optional<FineTuneVersion> ListOrder::VersionAt(std::string_view place) const {
  FineTuneVersion version;
  bool whole = TakeNumber(place, version.first_revision);
  for (const Term& term : terms_) {
    uint64_t size = 0;
    switch (term.field) {
      case Field::kCreateTime:
        whole = whole && TakeTime(place, version.create_time);
        break;
      case Field::kUpdateTime:
        whole = whole && TakeTime(place, version.update_time);
        break;
      case Field::kDisplayName:
        whole = whole && TakeNumber(place, size) && size <= place.size();
        if (!whole) break;
        version.display_name = place.substr(0, size);
        place.remove_prefix(size);
        break;
    }
  }
  if (!whole || !place.empty()) return std::nullopt;
  return version;
}

}  // namespace finetune
