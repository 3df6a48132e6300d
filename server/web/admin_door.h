#pragma once

#include <functional>

#include "absl/status/status.h"
#include "server/base/metrics.h"
#include "server/web/web_door.h"

namespace finetune {

// The operators' door: GET /metrics, /livez, /readyz, and the page, if there is one. Thread-safe if
// the checks are.
class AdminDoor : public WebDoor {
 public:
  // OK, or why not: the message becomes the probe's answer. May take a second.
  using Check = std::function<absl::Status()>;

  // `refresh` updates the metrics that are computed only on demand. `page`, which outlives this,
  // answers all other paths; null: they do not exist.
  AdminDoor(Metrics& metrics, std::function<void()> refresh, Check live, Check ready,
            WebDoor* page = nullptr);

  // Answers everything at once: no request here needs its body.
  std::optional<WebReply> Judge(const WebRequest& request) override { return Take(request); }
  WebReply Take(const WebRequest& request) override;

 private:
  Metrics& metrics_;
  const std::function<void()> refresh_;
  const Check live_;
  const Check ready_;
  WebDoor* const page_;
};

}  // namespace finetune
