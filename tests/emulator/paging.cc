#include "tests/emulator/paging.h"

#include <algorithm>
#include <optional>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

constexpr char kListPath[] = "/finetune/request/list";

struct Page {
  size_t begin = 0;
  size_t end = 0;
  size_t total = 0;
  bool more() const { return end < total; }
};

std::optional<size_t> After(const std::vector<ListItem>& items, const std::string& id) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].id == id) return i + 1;
  }
  return std::nullopt;
}

// Where the page begins that the request asks for; nothing if it names what there is not.
std::optional<size_t> BeginOf(const std::vector<ListItem>& items, const Request& request,
                              size_t size) {
  size_t number = 0;
  if (const auto offset = request.Query("offset")) {
    if (!absl::SimpleAtoi(*offset, &number)) return std::nullopt;
    return number;
  }
  if (const auto page = request.Query("page")) {
    if (!absl::SimpleAtoi(*page, &number) || number == 0) return std::nullopt;
    return (number - 1) * size;
  }
  if (const auto cursor = request.Query("cursor")) {
    std::string id;
    if (!absl::WebSafeBase64Unescape(*cursor, &id)) return std::nullopt;
    return After(items, id);
  }
  if (const auto id = request.Query("starting_after")) return After(items, *id);
  return 0;
}

// The cursor that leads on from the page's last job.
std::string CursorAfter(const std::vector<ListItem>& items, const Page& page) {
  return absl::WebSafeBase64Escape(items[page.end - 1].id);
}

Answer Wrapped(const std::vector<ListItem>& items, const Page& page, size_t size,
               const Settings& settings) {
  const std::string& style = settings.list_paging;
  const std::string array = ArrayText(std::span(items).subspan(page.begin, page.end - page.begin));
  const std::optional<std::string> cursor =
      page.more() ? std::optional(CursorAfter(items, page)) : std::nullopt;
  std::optional<std::string> next;
  if (cursor) {
    next = absl::StrCat(style == "next_path" ? "" : settings.public_url, kListPath, "?limit=", size,
                        "&cursor=", UrlEncoded(*cursor));
  }
  if (style == "link") {
    Answer answer = JsonAnswer(array);
    if (next) answer.headers.emplace_back("Link", absl::StrCat("<", *next, ">; rel=\"next\""));
    return answer;
  }
  ObjectText text;
  text.AddRaw("finetunes", array);
  if (style == "has_more") {
    text.AddBool("has_more", page.more());
  } else if (style == "cursor") {
    text.Add("next_cursor", cursor);
  } else if (style == "page") {
    text.Add("page", static_cast<int64_t>(page.begin / size + 1))
        .Add("per_page", static_cast<int64_t>(size))
        .Add("total_pages", static_cast<int64_t>((page.total + size - 1) / size));
  } else if (style == "total") {
    text.Add("total", static_cast<int64_t>(page.total));
  } else {
    text.Add("count", static_cast<int64_t>(page.total))
        .Add("next", next)
        .AddRaw("previous", "null");
  }
  return JsonAnswer(text.Text());
}

}  // namespace

const std::vector<std::string>& PagingStyles() {
  static const auto* const styles = new std::vector<std::string>{
      "silent", "has_more", "next_url", "next_path", "cursor", "page", "total", "link"};
  return *styles;
}

Answer ListAnswer(const std::vector<ListItem>& items, const Request& request,
                  const Settings& settings) {
  size_t size = settings.list_page_size;
  if (size == 0) return JsonAnswer(ArrayText(items));
  if (settings.list_paging == "silent") {
    return JsonAnswer(ArrayText(std::span(items).first(std::min(size, items.size()))));
  }
  size_t limit = 0;
  for (const char* name : {"limit", "per_page", "page_size"}) {
    if (absl::SimpleAtoi(request.Query(name).value_or(""), &limit) && limit > 0) {
      size = std::min(size, limit);
    }
  }
  const std::optional<size_t> begin = BeginOf(items, request, size);
  if (!begin) return ErrorAnswer(400, "Invalid page");
  Page page;
  page.total = items.size();
  page.begin = std::min(*begin, page.total);
  page.end = std::min(page.begin + size, page.total);
  return Wrapped(items, page, size, settings);
}

}  // namespace finetune::emulator
