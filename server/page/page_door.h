#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/jobs/record/catalog.h"
#include "server/page/open_pages.h"
#include "server/page/page_stream.h"
#include "server/web/web_door.h"

namespace finetune {

// The page for people, which is read-only: GET / and its files below /page/; /page/events, the
// hub's watch stream as server-sent events; /page/jobs/{id}, a job with its history; and
// /page/spending, what this month's jobs cost by team. Shows all jobs, and no secret, to everybody
// who reaches it. Requests by scripts or under names of other sites are refused. Thread-safe.
class PageDoor : public WebDoor {
 public:
  struct Options {
    // Names by which browsers may reach it, beside addresses, localhost and names without a dot.
    std::vector<std::string> hosts;
    // How many may be open at once: each takes a place in what all callers share.
    size_t most_pages = 20;
  };

  // What `source` names, and `catalog`, outlive the server that asks it.
  PageDoor(Options options, PageSource source, Catalog& catalog);

  std::optional<WebReply> Judge(const WebRequest& request) override { return Take(request); }
  WebReply Take(const WebRequest& request) override;

  size_t open_pages() const { return pages_->count(); }

 private:
  struct File {
    std::string_view bytes;
    std::string content_type;
    std::string etag;
  };

  WebReply Answer(const WebRequest& request);
  WebReply AnswerFile(const WebRequest& request, const File& file) const;
  WebReply OpenEvents(const WebRequest& request);
  WebReply ShowJob(std::string_view id) const;

  // Constant after construction.
  const Options options_;
  const PageSource source_;
  Catalog& catalog_;
  const std::shared_ptr<OpenPages> pages_;
  absl::flat_hash_map<std::string, File> files_;  // By their paths.
};

// Whether this Host is ours, so that the request cannot come from another site's page: a name that
// anybody may register can be made to lead here. `hosts` are known to be ours.
bool IsOurHost(std::string_view host, const std::vector<std::string>& hosts);

}  // namespace finetune
