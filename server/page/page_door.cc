#include "server/page/page_door.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/absl_view.h"
#include "server/base/sha256.h"
#include "server/jobs/filter/filter.h"
#include "server/json/message_json.h"
#include "server/page/page_file.h"

namespace finetune {
namespace {

constexpr std::string_view kFolder = "/page/";
constexpr std::string_view kJobs = "/page/jobs/";
constexpr std::string_view kSpending = "/page/spending";
constexpr std::string_view kEvents = "/page/events";
constexpr std::string_view kIndex = "index.html";
constexpr absl::Duration kHeartbeat = absl::Seconds(10);

std::string TypeOf(std::string_view name) {
  const std::string_view extension = name.substr(name.rfind('.') + 1);
  if (extension == "html") return "text/html; charset=utf-8";
  if (extension == "css") return "text/css; charset=utf-8";
  if (extension == "js") return "text/javascript; charset=utf-8";
  if (extension == "svg") return "image/svg+xml";
  return "application/octet-stream";
}

std::string TagOf(std::string_view bytes) {
  return absl::StrCat("\"", absl::BytesToHexString(Sha256Of(bytes).substr(0, 12)), "\"");
}

// The value of `name` in a query. The values that are asked for here need no decoding.
std::string_view QueryValue(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.substr(0, pair.find('=')) == name && pair.size() > name.size())
      return pair.substr(name.size() + 1);
  }
  return "";
}

std::string HostWithoutPort(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(1, host.find(']') - 1));
  return absl::AsciiStrToLower(AbslView(host.substr(0, host.find(':'))));
}

bool IsAddress(const std::string& host) {
  char bytes[16];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

// Whether a page of another site sent this, as far as the browser says. A link may lead here.
bool IsFromElsewhere(const WebRequest& request) {
  const std::string_view site = request.Header("sec-fetch-site");
  if (site.empty() || site == "same-origin" || site == "none") return false;
  return request.path != "/" || request.Header("sec-fetch-mode") != "navigate";
}

// A resume token that cannot be read stands for a history that does not exist.
std::optional<ResumePoint> ResumeFrom(const WebRequest& request) {
  std::string_view token = request.Header("last-event-id");
  if (token.empty()) token = QueryValue(request.query, "resume");
  if (token.empty()) return std::nullopt;
  auto point = DecodeResumeToken(token);
  return point.ok() ? *std::move(point) : ResumePoint();
}

WebReply JsonReply(const google::protobuf::Message& message) {
  JsonWriter writer;
  WriteMessage(message, writer);
  return {.body = writer.text(), .content_type = "application/json"};
}

}  // namespace

bool IsOurHost(std::string_view host, const std::vector<std::string>& hosts) {
  const std::string name = HostWithoutPort(host);
  if (name.find('.') == name.npos || absl::EndsWith(name, ".localhost") || IsAddress(name))
    return true;
  return std::any_of(hosts.begin(), hosts.end(),
                     [&](const std::string& good) { return absl::EqualsIgnoreCase(good, name); });
}

PageDoor::PageDoor(Options options, PageSource source, Catalog& catalog)
    : options_(std::move(options)),
      source_(std::move(source)),
      catalog_(catalog),
      pages_(std::make_shared<OpenPages>(source_.clock, options_.most_pages)) {
  for (const PageFile& file : PageFiles()) {
    const std::string path =
        file.name == kIndex ? "/" : absl::StrCat(AbslView(kFolder), AbslView(file.name));
    files_[path] = {file.bytes, TypeOf(file.name), TagOf(file.bytes)};
  }
}

WebReply PageDoor::Take(const WebRequest& request) {
  WebReply reply = Answer(request);
  reply.headers.insert(
      reply.headers.end(),
      {{"Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"},
       {"X-Frame-Options", "DENY"},
       {"Cross-Origin-Resource-Policy", "same-origin"},
       {"Cross-Origin-Opener-Policy", "same-origin"},
       {"Referrer-Policy", "no-referrer"}});
  return reply;
}

WebReply PageDoor::Answer(const WebRequest& request) {
  if (request.method != "GET" && request.method != "HEAD")
    return {.code = 405, .body = "only GET\n", .headers = {{"Allow", "GET, HEAD"}}};
  if (!IsOurHost(request.Header("host"), options_.hosts))
    return {.code = 421,
            .body =
                "this page is not known by that name: open it by address or as localhost, or "
                "start the gateway with --page_hosts\n"};
  if (IsFromElsewhere(request))
    return {.code = 403, .body = "other sites may not read this page\n"};
  if (const auto file = files_.find(std::string(request.path)); file != files_.end())
    return AnswerFile(request, file->second);
  if (request.path == kEvents) return OpenEvents(request);
  if (request.path == kSpending) return JsonReply(source_.spending());
  if (request.path.starts_with(kJobs)) return ShowJob(request.path.substr(kJobs.size()));
  return {.code = 404, .body = "not found; try /, /metrics, /livez, /readyz\n"};
}

WebReply PageDoor::AnswerFile(const WebRequest& request, const File& file) const {
  WebReply reply{.content_type = file.content_type,
                 .headers = {{"ETag", file.etag}},
                 .cache_control = "no-cache"};
  if (request.Header("if-none-match") == file.etag)
    reply.code = 304;
  else
    reply.body = std::string(file.bytes);
  return reply;
}

WebReply PageDoor::OpenEvents(const WebRequest& request) {
  WebReply reply{.content_type = "text/event-stream"};
  // HEAD gets the head only.
  if (request.method == "HEAD") return reply;
  WatchSpec spec{.filter = *Filter::Parse(""),
                 .resume = ResumeFrom(request),
                 .heartbeat_interval = kHeartbeat};
  reply.stream = pages_->Open(source_, std::move(spec));
  if (reply.stream == nullptr)
    return {.code = 503,
            .body = absl::StrCat("as many pages are open as may be: ", options_.most_pages, "\n"),
            .headers = {{"Retry-After", "5"}}};
  // A proxy that buffers answers would hold events back.
  reply.headers.push_back({"X-Accel-Buffering", "no"});
  return reply;
}

WebReply PageDoor::ShowJob(std::string_view id) const {
  const VersionPtr version = catalog_.Find(id);
  pb::FineTune job;
  if (version == nullptr ||
      !job.ParseFromArray(version->full.begin(), static_cast<int>(version->full.size())))
    return {.code = 404, .body = "no such job\n"};
  return JsonReply(job);
}

}  // namespace finetune
