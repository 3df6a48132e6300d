#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/thread.h"
#include "server/http/address_policy.h"
#include "server/http/http_stream.h"

namespace finetune {

// HttpStreamer over libcurl, with a multi handle and a thread ("transfers") of its own, so that
// moving gigabytes delays no call to Segmind's API, and the two share no limit of connections. Uses
// HTTP/1.1, whose flow control is the socket's, so that a pause takes effect at once.
//
// Every connection is checked twice against the address policy: by name before it is made, and by
// address when the socket is opened. A socket to a proxy that the environment names may go to any
// address.
class CurlStreamer : public HttpStreamer {
 public:
  struct Options {
    std::string user_agent = "segmind-finetune-gateway/" FINETUNE_VERSION;
    // PEM certificates to trust instead of the system's.
    std::string ca_file;
    int max_redirects = 10;
    // Whether http_proxy and its kin in the environment count.
    bool use_environment_proxy = true;
  };

  // INTERNAL if libcurl cannot be set up.
  static absl::StatusOr<std::unique_ptr<CurlStreamer>> Create(Options options,
                                                              AddressPolicy policy);
  ~CurlStreamer() override;

  std::shared_ptr<HttpStream> Start(StreamRequest request,
                                    std::shared_ptr<HttpStreamListener> listener) override;
  // Waits for the thread to end. Not from a listener.
  void Shutdown() override;

 private:
  class Stream;
  class Mailbox;
  class Loop;

  CurlStreamer(Options options, AddressPolicy policy, std::shared_ptr<Mailbox> mailbox);

  // Constant after construction.
  const Options options_;
  const AddressPolicy policy_;
  const std::shared_ptr<Mailbox> mailbox_;
  Thread thread_;
};

}  // namespace finetune
