#include "server/store/moved_to.h"

#include "absl/strings/str_cat.h"
#include "server/base/absl_view.h"

namespace finetune {
namespace {

constexpr std::string_view kUnderWay = "under way to ";

}  // namespace

std::string MoveUnderWayTo(std::string_view place) {
  return std::string(kUnderWay) + std::string(place);
}

std::string_view UnderWayTo(std::string_view moved_to) {
  if (!moved_to.starts_with(kUnderWay)) return {};
  return moved_to.substr(kUnderWay.size());
}

std::string WhyNotHere(std::string_view moved_to) {
  if (const std::string_view place = UnderWayTo(moved_to); !place.empty()) {
    return absl::StrCat("was being moved to ", AbslView(place),
                        ", and that was not finished: run copy-store from here to there again");
  }
  return absl::StrCat("was moved: the record is at ", AbslView(moved_to),
                      " now, so start with --store=", AbslView(moved_to));
}

}  // namespace finetune
