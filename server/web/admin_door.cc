#include "server/web/admin_door.h"

#include <prometheus/text_serializer.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

WebReply Probe(const AdminDoor::Check& check) {
  const absl::Status status = check();
  if (status.ok()) return {.body = "ok\n"};
  return {.code = 503, .body = absl::StrCat(status.message(), "\n")};
}

}  // namespace

AdminDoor::AdminDoor(Metrics& metrics, std::function<void()> refresh, Check live, Check ready,
                     WebDoor* page)
    : metrics_(metrics),
      refresh_(std::move(refresh)),
      live_(std::move(live)),
      ready_(std::move(ready)),
      page_(page) {}

WebReply AdminDoor::Take(const WebRequest& request) {
  const bool is_mine =
      request.path == "/metrics" || request.path == "/livez" || request.path == "/readyz";
  if (!is_mine && page_ != nullptr) return page_->Take(request);
  if (!is_mine)
    return {.code = 404,
            .body = "not found; try /metrics, /livez, /readyz (the page is off, see --page)\n"};
  if (request.method != "GET" && request.method != "HEAD")
    return {.code = 405, .body = "only GET\n", .headers = {{"Allow", "GET, HEAD"}}};
  if (request.path == "/livez") return Probe(live_);
  if (request.path == "/readyz") return Probe(ready_);
  refresh_();
  return {.body = prometheus::TextSerializer().Serialize(metrics_.registry()->Collect()),
          .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

}  // namespace finetune
