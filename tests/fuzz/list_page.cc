#include "server/segmind/upstream_list.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// What stands around the jobs of a list, and where it leads.
void Fuzz(std::string_view input) {
  JsonParser parser;
  const absl::StatusOr<UpstreamPage> page = ReadUpstreamPage(input, parser);
  if (page.ok()) {
    // `null` is a list of none.
    CHECK(page->array.empty() || page->array == "[]" ||
          (page->array.data() >= input.data() &&
           page->array.data() + page->array.size() <= input.data() + input.size()));
    CHECK(IsValid(page->more));
  } else {
    CheckRefusal(page.status());
  }
  // A page that leads to itself must not be followed for ever, nor to another host.
  UpstreamPager pager("https://api.segmind.com/finetune/request/list", 1 << 20);
  for (int pages = 0;; ++pages) {
    CHECK(pages < 100'000);
    const std::optional<std::string> next = pager.Take({200, {}, std::string(input)});
    if (!next) break;
    CHECK(next->starts_with("https://api.segmind.com/") ||
          next->starts_with("https://api.segmind.com?") ||
          next->starts_with("https://api.segmind.com:443/"));
  }
  std::move(pager).Finish();
}

}  // namespace finetune
