#include "server/segmind/upstream_list.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/absl_view.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/url.h"
#include "server/json/list_scanner.h"
#include "server/segmind/error_words.h"

namespace finetune {
namespace {

constexpr std::string_view kNoItems = "[]";
// Each page is one of the account's few calls.
constexpr size_t kMaxPages = 50;
constexpr size_t kMaxNext = 2048;

// The names under which a list has been seen, or may be. With any other name it is taken if it is
// the only one.
bool IsListName(std::string_view quoted_key) {
  for (std::string_view name : {"\"finetunes\"", "\"fine_tunes\"", "\"finetune\"", "\"requests\"",
                                "\"data\"", "\"items\"", "\"results\"", "\"jobs\"", "\"list\""})
    if (quoted_key == name) return true;
  return false;
}

// What a member of a wrapper says about pages.
enum class Says {
  kHasMore,  // True: others follow.
  kNext,     // Not empty: others follow, there.
  kTotal,    // How many jobs there are on all pages.
  kPage,     // Which page this is.
  kPages,    // How many there are.
  kOffset,   // How many jobs stand before this page's.
  kLimit,    // How many a page has at most.
  kNested,   // An object that says these things.
};

struct PageWord {
  absl::string_view name;  // In lower case, letters only.
  Says says;
  absl::string_view parameter = "";  // By which the next page is asked for.
};

constexpr PageWord kPageWords[] = {
    {"hasmore", Says::kHasMore},
    {"hasnext", Says::kHasMore},
    {"hasnextpage", Says::kHasMore},
    {"more", Says::kHasMore},
    {"truncated", Says::kHasMore},
    {"istruncated", Says::kHasMore},
    {"partial", Says::kHasMore},
    {"incomplete", Says::kHasMore},
    {"incompleteresults", Says::kHasMore},
    {"next", Says::kNext, "cursor"},
    {"nexturl", Says::kNext},
    {"nexturi", Says::kNext},
    {"nextlink", Says::kNext},
    {"nextpage", Says::kNext, "page"},
    {"nextpageurl", Says::kNext},
    {"nextpagetoken", Says::kNext, "page_token"},
    {"nexttoken", Says::kNext, "next_token"},
    {"nextcursor", Says::kNext, "cursor"},
    {"nextoffset", Says::kNext, "offset"},
    {"continuation", Says::kNext, "continuation"},
    {"continuationtoken", Says::kNext, "continuation_token"},
    {"cursor", Says::kNext, "cursor"},
    {"endcursor", Says::kNext, "after"},
    {"lastevaluatedkey", Says::kNext},
    {"total", Says::kTotal},
    {"totalcount", Says::kTotal},
    {"totalitems", Says::kTotal},
    {"totalelements", Says::kTotal},
    {"totalresults", Says::kTotal},
    {"totalrecords", Says::kTotal},
    {"numfound", Says::kTotal},
    {"count", Says::kTotal},
    {"page", Says::kPage, "page"},
    {"currentpage", Says::kPage, "page"},
    {"pagenumber", Says::kPage, "page"},
    {"pages", Says::kPages},
    {"totalpages", Says::kPages},
    {"pagecount", Says::kPages},
    {"numpages", Says::kPages},
    {"lastpage", Says::kPages},
    {"offset", Says::kOffset, "offset"},
    {"skip", Says::kOffset, "skip"},
    {"limit", Says::kLimit},
    {"pagesize", Says::kLimit},
    {"perpage", Says::kLimit},
    {"maxresults", Says::kLimit},
    {"maxitems", Says::kLimit},
    {"pagelimit", Says::kLimit},
    {"pagination", Says::kNested},
    {"paging", Says::kNested},
    {"pageinfo", Says::kNested},
    {"pagemeta", Says::kNested},
    {"meta", Says::kNested},
    {"metadata", Says::kNested},
    {"responsemetadata", Says::kNested},
    {"links", Says::kNested},
    {"cursors", Says::kNested},
};

const PageWord* FindWord(std::string_view key) {
  std::string letters;
  for (const char c : key)
    if (absl::ascii_isalpha(static_cast<unsigned char>(c))) letters += absl::ascii_tolower(c);
  for (const PageWord& word : kPageWords)
    if (word.name == letters) return &word;
  return nullptr;
}

std::string PercentEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("-_.~", absl::string_view(&c, 1))) {
      encoded += c;
    } else {
      absl::StrAppend(&encoded, "%", absl::Hex(byte, absl::kZeroPad2));
    }
  }
  return encoded;
}

bool IsReference(absl::string_view text) {
  return absl::StartsWithIgnoreCase(text, "http://") ||
         absl::StartsWithIgnoreCase(text, "https://") || absl::StartsWith(text, "/") ||
         absl::StartsWith(text, "?");
}

// What a wrapper says about pages, all its members together.
class PageHints {
 public:
  // `key` without its quotes.
  void Note(std::string_view key, const JsonValue& value, int depth = 0) {
    const PageWord* word = FindWord(key);
    if (word == nullptr) return;
    const bool tells_end = word->says == Says::kHasMore || word->says == Says::kNext;
    tells_end_ = tells_end_ || tells_end;
    if (value.IsNull()) return;
    switch (word->says) {
      case Says::kHasMore:
        has_more_ = has_more_ || BoolOf(value).value_or(false);
        return;
      case Says::kNext:
        return NoteNext(key, *word, value);
      case Says::kTotal:
        // `count` may be the page's own, so the greatest counts.
        if (const auto total = NumberOf(value)) total_ = std::max(total_.value_or(0), *total);
        return;
      case Says::kPage:
        if (value.IsObject()) return NoteMembers(value, depth);
        page_ = NumberOf(value);
        page_parameter_ = word->parameter;
        return;
      case Says::kPages:
        pages_ = NumberOf(value);
        return;
      case Says::kOffset:
        offset_ = NumberOf(value);
        offset_parameter_ = word->parameter;
        return;
      case Says::kLimit:
        limit_ = NumberOf(value);
        return;
      case Says::kNested:
        return NoteMembers(value, depth);
    }
  }

  // Fills in what `page` says about other pages; `page.array` is known.
  void Judge(UpstreamPage& page) const {
    page.total = total_;
    if (has_more_) page.more = "it says that there are more";
    if (page_ && pages_ && *pages_ > *page_)
      page.more = absl::StrCat("it is page ", *page_, " of ", *pages_);
    if (!next_.empty() || next_unknown_) page.more = "it names a next page";
    page.next = next_;
    // A full page is only known to be the last if something says so.
    const bool may_be_full = limit_ && *limit_ > 0 && !tells_end_ && !pages_ && !total_;
    if (page.more.empty() && !total_ && !may_be_full) return;
    const size_t items = CountItems(page.array);
    if (may_be_full && items >= *limit_)
      page.more = absl::StrCat("it has ", items, " jobs, as many as a page may");
    if (page.more.empty() && !total_) return;
    if (page.more.empty() && page_.value_or(0) <= 1 && offset_.value_or(0) == 0 && *total_ > items)
      page.more = absl::StrCat("it says that there are ", *total_, ", and has ", items);
    if (page.more.empty() && offset_ && total_ && *offset_ + items < *total_)
      page.more = absl::StrCat("it ends before ", *total_);
    if (page.more.empty() || !page.next.empty() || next_unknown_ || items == 0) return;
    if (page_) {
      page.next = absl::StrCat("?", page_parameter_, "=", *page_ + 1);
    } else if (offset_) {
      page.next = absl::StrCat("?", offset_parameter_, "=", *offset_ + items);
    }
  }

  static size_t CountItems(std::string_view array) {
    size_t items = 0;
    ScanArray(array, [&](std::string_view) { ++items; });
    return items;
  }

 private:
  void NoteMembers(const JsonValue& object, int depth) {
    constexpr int kMaxDepth = 2;
    if (!object.IsObject() || depth >= kMaxDepth) return;
    for (const auto& member : object.GetObject())
      Note(RawText(member.name), member.value, depth + 1);
  }

  void NoteNext(std::string_view key, const PageWord& word, const JsonValue& value) {
    if (value.IsObject() || value.IsArray()) {
      // {"next": {"href": "…"}}
      const JsonValue* inner = MemberOf(value, "href");
      if (inner == nullptr) inner = MemberOf(value, "url");
      if (inner != nullptr && inner->IsString()) return NoteNext(key, word, *inner);
      next_unknown_ = next_unknown_ || (value.IsObject() && value.MemberCount() > 0);
      return;
    }
    if (value.IsBool()) {
      has_more_ = has_more_ || value.GetBool();
      return;
    }
    const std::string text(absl::StripAsciiWhitespace(TextOf(value).value_or("")));
    if (text.empty() || text.size() > kMaxNext || text == "0" || text == "-1") return;
    // A member that names the next page is preferred to a cursor, which may be this page's own.
    if (!next_.empty() && word.name == "cursor") return;
    if (IsReference(text)) {
      next_ = text;
    } else if (word.parameter.empty()) {
      next_unknown_ = true;
    } else {
      const bool number = std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
      std::string parameter(number && word.name == "next" ? "page" : word.parameter);
      if (std::any_of(key.begin(), key.end(), absl::ascii_isupper))
        parameter = CamelCase(parameter);
      next_ = absl::StrCat("?", parameter, "=", PercentEncoded(text));
    }
  }

  static std::string CamelCase(const std::string& snake) {
    std::string camel;
    for (size_t i = 0; i < snake.size(); ++i) {
      if (snake[i] == '_' && i + 1 < snake.size())
        camel += absl::ascii_toupper(snake[++i]);
      else
        camel += snake[i];
    }
    return camel;
  }

  static std::optional<size_t> NumberOf(const JsonValue& value) {
    const std::optional<double> number = DoubleOf(value);
    if (!number || *number < 0 || *number > 1e9 || *number != std::trunc(*number))
      return std::nullopt;
    return static_cast<size_t>(*number);
  }

  bool has_more_ = false;
  std::string next_;
  bool next_unknown_ = false;  // There is one, and how to ask for it is not known.
  std::optional<size_t> total_;
  std::optional<size_t> page_;
  std::optional<size_t> pages_;
  std::optional<size_t> offset_;
  std::optional<size_t> limit_;
  bool tells_end_ = false;  // It has a word for whether others follow.
  absl::string_view page_parameter_;
  absl::string_view offset_parameter_;
};

// The members of an object that may be its list.
struct Candidates {
  std::vector<std::string_view> named;
  std::vector<std::string_view> of_objects;
  std::vector<std::string_view> empty;
  std::vector<std::string_view> wrappers;
  bool is_null = false;
  bool complains = false;

  void Add(std::string_view key, std::string_view value) {
    if (value[0] == '[') return AddArray(key, value);
    if (IsListName(key) && value[0] == '{') wrappers.push_back(value);
    if (IsListName(key) && value == "null") is_null = true;
    if (value != "null" && (key == "\"error\"" || key == "\"message\"" || key == "\"detail\""))
      complains = true;
  }
  void AddArray(std::string_view key, std::string_view array) {
    const std::string_view inside = SkipSpace(array.substr(1));
    const bool is_empty = inside.substr(0, 1) == "]";
    if (!is_empty && inside.substr(0, 1) != "{") return;
    if (IsListName(key)) named.push_back(array);
    (is_empty ? empty : of_objects).push_back(array);
  }
  absl::StatusOr<std::string_view> Choose() const {
    for (const auto* kind : {&named, &of_objects, &empty, &wrappers}) {
      if (kind->size() == 1) return kind->front();
      if (kind->size() > 1) return MalformedList("it is an object with several arrays");
    }
    if (is_null && !complains) return kNoItems;
    return MalformedList("it is an object without an array of jobs");
  }
};

// Finds the array in a body, bare or wrapped in an object or two.
class ArrayFinder {
 public:
  explicit ArrayFinder(JsonParser& parser) : parser_(parser) {}

  absl::StatusOr<UpstreamPage> Find(std::string_view body) {
    if (body.substr(0, 3) == "\xef\xbb\xbf") body.remove_prefix(3);
    constexpr int kMaxWraps = 3;
    UpstreamPage page;
    for (int wraps = 0; wraps <= kMaxWraps; ++wraps) {
      body = SkipSpace(body);
      // No jobs: Go writes a slice that was never made as `null`.
      const bool none = body.substr(0, 4) == "null" && SkipSpace(body.substr(4)).empty();
      if (none || body.substr(0, 1) == "[") {
        page.array = none ? kNoItems : body;
        if (wraps > 0) hints_.Judge(page);
        return complains_ ? Complaining(std::move(page)) : page;
      }
      if (body.substr(0, 1) != "{") break;
      ASSIGN_OR_RETURN(body, Unwrap(body));
    }
    return MalformedList("it is neither an array nor an object with one");
  }

 private:
  // The jobs that it has exist; others may be missing.
  static absl::StatusOr<UpstreamPage> Complaining(UpstreamPage page) {
    if (PageHints::CountItems(page.array) == 0)
      return MalformedList("it is an error, and has no jobs");
    if (page.more.empty()) page.more = "it says that it went wrong";
    return page;
  }

  absl::StatusOr<std::string_view> Unwrap(std::string_view object) {
    Candidates candidates;
    std::string_view rest = SkipSpace(object.substr(1));
    while (rest.substr(0, 1) != "}") {
      ASSIGN_OR_RETURN(const std::string_view key, Take(rest));
      rest = SkipSpace(rest);
      if (key[0] != '"' || rest.substr(0, 1) != ":") return MalformedList("it is not JSON");
      rest = SkipSpace(rest.substr(1));
      ASSIGN_OR_RETURN(const std::string_view value, Take(rest));
      const std::string_view name = key.substr(1, key.size() - 2);
      const bool is_list = value[0] == '[' && name != "errors";
      if (!is_list) {
        const JsonValue* parsed = parser_.Parse(value);
        if (parsed == nullptr && !parser_.refused()) return MalformedList("it is not JSON");
        if (parsed != nullptr) hints_.Note(name, *parsed);
        complains_ = complains_ || (parsed != nullptr && IsComplaint(name, *parsed));
      }
      if (is_list || value[0] != '[') candidates.Add(key, value);
      rest = SkipSpace(rest);
      if (rest.substr(0, 1) == "}") break;
      if (rest.substr(0, 1) != ",") return MalformedList("it is not JSON");
      rest = SkipSpace(rest.substr(1));
      if (rest.substr(0, 1) != "\"") return MalformedList("it is not JSON");
    }
    if (!SkipSpace(rest.substr(1)).empty()) return MalformedList("something follows it");
    return candidates.Choose();
  }

  // Takes one value off the front of `rest`.
  absl::StatusOr<std::string_view> Take(std::string_view& rest) {
    const std::optional<size_t> end = ScanValue(rest);
    if (!end) return MalformedList("it is cut short");
    const std::string_view value = rest.substr(0, *end);
    rest.remove_prefix(*end);
    return value;
  }

  JsonParser& parser_;
  PageHints hints_;
  bool complains_ = false;
};

// `<URL>; rel="next", …` (RFC 8288): the URL, or nothing.
std::string NextInLink(absl::string_view header) {
  while (!header.empty()) {
    const size_t open = header.find('<');
    const size_t close = header.find('>', open == header.npos ? header.size() : open);
    if (open == header.npos || close == header.npos) return "";
    const absl::string_view url = header.substr(open + 1, close - open - 1);
    header.remove_prefix(close + 1);
    const size_t end = std::min(header.find('<'), header.size());
    for (absl::string_view parameter : absl::StrSplit(header.substr(0, end), ';')) {
      parameter = absl::StripAsciiWhitespace(parameter);
      while (absl::ConsumeSuffix(&parameter, ","))
        parameter = absl::StripAsciiWhitespace(parameter);
      const std::pair<absl::string_view, absl::string_view> pair =
          absl::StrSplit(parameter, absl::MaxSplits('=', 1));
      absl::string_view value = absl::StripAsciiWhitespace(pair.second);
      if (absl::ConsumePrefix(&value, "\"")) absl::ConsumeSuffix(&value, "\"");
      if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(pair.first), "rel")) continue;
      for (absl::string_view relation : absl::StrSplit(value, ' '))
        if (absl::EqualsIgnoreCase(relation, "next")) return std::string(url);
    }
  }
  return "";
}

// What headers say about pages, if the body says nothing.
void AddHeaders(const HttpResponse& response, UpstreamPage& page) {
  if (response.code == 206 && page.more.empty()) page.more = "its HTTP code says that it is a part";
  std::string next = NextInLink(AbslView(response.Header("link")));
  size_t number = 0;
  if (next.empty() && absl::SimpleAtoi(AbslView(response.Header("x-next-page")), &number) &&
      number > 0)
    next = absl::StrCat("?page=", number);
  if (!next.empty() && next.size() <= kMaxNext) {
    if (page.more.empty()) page.more = "its headers name a next page";
    if (page.next.empty()) page.next = std::move(next);
  }
  for (std::string_view name : {"x-total-count", "x-total"}) {
    if (!page.total && absl::SimpleAtoi(AbslView(response.Header(name)), &number))
      page.total = number;
  }
}

}  // namespace

absl::StatusOr<UpstreamPage> ReadUpstreamPage(std::string_view body, JsonParser& parser) {
  return ArrayFinder(parser).Find(body);
}

absl::Status MalformedList(std::string_view why) {
  return Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
               absl::StrCat("Segmind's list cannot be read: ", AbslView(why)))
      .Metadata("call", "list");
}

size_t UpstreamList::bytes() const {
  size_t bytes = 0;
  for (const std::string& body : bodies) bytes += body.size();
  return bytes;
}

UpstreamPager::UpstreamPager(std::string url, size_t max_bytes)
    : url_(std::move(url)), max_bytes_(max_bytes) {
  asked_.insert(url_);
}

std::optional<std::string> UpstreamPager::Take(HttpResponse response) {
  const bool is_first = pages_.bodies.empty();
  absl::StatusOr<UpstreamPage> page = ReadUpstreamPage(response.body, parser_);
  // ListReader says what is wrong with the first page.
  if (!page.ok()) {
    if (is_first)
      pages_.bodies.push_back(std::move(response.body));
    else
      Fail(page.status());
    return std::nullopt;
  }
  AddHeaders(response, *page);
  const bool counts = page->total || !page->more.empty() || !is_first;
  const size_t items = counts ? PageHints::CountItems(page->array) : 0;
  items_ += items;
  bytes_ += response.body.size();
  const bool repeats = !is_first && response.body == pages_.bodies.back();
  if (!repeats) pages_.bodies.push_back(std::move(response.body));
  pages_.more.clear();
  if (page->total && *page->total <= items_) return std::nullopt;
  if (page->total && page->more.empty())
    page->more = absl::StrCat("it says that there are ", *page->total, ", and has ", items_);
  // A list that has a cursor on every page ends with an empty page.
  if (page->more.empty() || (!is_first && items == 0 && !page->total)) return std::nullopt;
  pages_.more = page->more;
  const std::optional<std::string> next = UrlOf(page->next);
  if (!next || repeats || items == 0) return std::nullopt;
  if (pages() >= kMaxPages || bytes_ >= max_bytes_) {
    absl::StrAppend(&pages_.more, "; no more than ", pages(), " pages are read");
    return std::nullopt;
  }
  if (!asked_.insert(*next).second) return std::nullopt;
  return next;
}

void UpstreamPager::Fail(const absl::Status& status) {
  absl::StrAppend(&pages_.more, pages_.more.empty() ? "" : "; ", "page ", pages() + 1,
                  " could not be read: ", status.message());
}

std::optional<std::string> UpstreamPager::UrlOf(const std::string& next) const {
  if (next.empty() || std::any_of(next.begin(), next.end(), [](unsigned char c) {
        return c <= ' ' || c == 0x7f || c == '\\' || c == '#';
      }))
    return std::nullopt;
  const absl::StatusOr<Url> own = Url::Parse(url_);
  if (!own.ok()) return std::nullopt;
  const absl::StatusOr<Url> url = own->Resolve(next);
  // The request carries the key, so it goes to no other host.
  if (!url.ok() || url->host() != own->host() || url->port() != own->port() ||
      url->secure() != own->secure())
    return std::nullopt;
  return url->text();
}

}  // namespace finetune
